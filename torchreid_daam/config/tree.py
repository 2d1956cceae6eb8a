"""The tree of settings: torchreid's keys plus ours, with their defaults.

Keys, names and most defaults of the first part are torchreid's, so that its
own YAML files work; where a default is the paper's instead, it says so.
"""

from yacs.config import CfgNode as CN


def get_default_config() -> CN:
    """The tree of all settings with their defaults."""
    cfg = CN()
    cfg.device = 'auto'  # auto, cpu, cuda or mps; use_gpu follows from it
    cfg.use_gpu = False  # derived from device; a value given here is ignored
    cfg.adapt_bn = True  # re-estimate BatchNorm on the target before use
    cfg.report = False  # write report.html at the end of the run

    cfg.model = CN()
    cfg.model.name = 'resnet50_daam'  # any model torchreid knows
    cfg.model.pretrained = True  # ImageNet weights through torchreid
    cfg.model.backbone_weights = ''  # backbone weights from a file instead
    cfg.model.load_weights = ''  # a *_daam checkpoint to start from
    cfg.model.resume = ''  # a checkpoint, a run's folder, or auto
    cfg.model.last_stride = 0  # 1 = larger last map (ResNets), 0 = as it is
    cfg.model.daam = CN()
    cfg.model.daam.embed_dim = 256  # size of f_sh and f_sp (section 3.2)
    cfg.model.daam.reduction = 16  # r of Eq. 4; not given in the paper
    cfg.model.daam.attention = 'residual'  # residual, independent or none
    cfg.model.daam.dsp_branch = True  # the domain-specific branch
    cfg.model.daam.gate = 'sigmoid'  # how A is made (Eq. 3, 4)
    cfg.model.daam.attention_init = 'neutral'  # A of 1/4; or random

    cfg.data = CN()
    cfg.data.type = 'image'  # image only
    cfg.data.root = 'reid-data'  # folder of the data sets
    cfg.data.sources = ['market1501']  # labelled data sets
    cfg.data.targets = ['dukemtmcreid']  # unlabelled data sets
    cfg.data.target_folder = []  # trees of images instead of targets
    cfg.data.target_test_folder = ''  # its labelled part, if there is one
    cfg.data.camera_pattern = ''  # finds the camera in a file's name
    cfg.data.tracklet_pattern = ''  # finds the tracklet in a file's name
    cfg.data.source_folder = ''  # one subfolder per identity
    cfg.data.source_holdout = 0.1  # share of its people kept for calibrate
    cfg.data.style_folder = ''  # style-transferred copies of the source
    cfg.data.workers = 4  # loading processes
    cfg.data.cache = 'none'  # or ram: keep decoded images (daam only)
    cfg.data.split_id = 0  # split of data sets that have several
    cfg.data.height = 256  # of the network's input, pixels
    cfg.data.width = 128  # of the network's input, pixels
    cfg.data.combineall = False  # train on query and gallery of the source
    cfg.data.transforms = ['random_flip', 'random_crop']  # augmentation
    cfg.data.pretrain_transforms = []  # of pretraining; [] = transforms
    cfg.data.color_jitter = []  # its four strengths; [] = torchreid's
    cfg.data.k_tfm = 1  # augmented copies of an image; daam takes 1
    cfg.data.norm_mean = [0.485, 0.456, 0.406]  # ImageNet's
    cfg.data.norm_std = [0.229, 0.224, 0.225]  # ImageNet's
    cfg.data.on_bad_image = 'stop'  # or skip, training images only
    cfg.data.save_dir = 'log'  # the run's folder
    cfg.data.load_train_targets = False  # derived: True with daam
    cfg.data.synthetic = CN()
    cfg.data.synthetic.seed = 0  # of the embedded data
    cfg.data.synthetic.pair = 'demo'  # named set of knobs

    cfg.market1501 = CN()
    cfg.market1501.use_500k_distractors = False  # larger gallery
    cfg.cuhk03 = CN()
    cfg.cuhk03.labeled_images = False  # else detected ones
    cfg.cuhk03.classic_split = False  # 20 random splits of 2014
    cfg.cuhk03.use_metric_cuhk03 = False  # single gallery shot

    cfg.sampler = CN()
    cfg.sampler.train_sampler = 'RandomSampler'  # order of the source
    cfg.sampler.train_sampler_t = 'RandomSampler'  # order of the target
    cfg.sampler.num_instances = 4  # images per id, *IdentitySampler
    cfg.sampler.num_cams = 1  # cameras in a batch, RandomDomainSampler
    cfg.sampler.num_datasets = 1  # data sets in a batch, RandomDatasetSampler

    cfg.train = CN()
    cfg.train.optim = 'sgd'  # the paper's (section 5.2); torchreid: adam
    cfg.train.lr = 1e-3  # at the start of a round (section 5.2)
    cfg.train.weight_decay = 5e-4  # torchreid's; not given in the paper
    cfg.train.pretrain_epoch = 60  # line 1 of Algorithm 1
    cfg.train.pretrain_lr = 1e-2  # at its start; not given in the paper
    cfg.train.pretrain_lr_scheduler = 'same'  # as lr_scheduler, or another
    cfg.train.pretrain_stepsize = [40]  # epochs at which it drops
    cfg.train.rounds = 7  # iterations of Algorithm 1 (section 5.2)
    cfg.train.round_epoch = 200  # epochs of a round (section 5.2)
    cfg.train.epoch_length = 'max'  # or source, target, a number
    cfg.train.stop_agreement = 0.0  # adjusted Rand index that ends rounds
    cfg.train.forward = 'joint'  # or separate: each domain by itself
    cfg.train.ema_decay = 0.0  # of averaged weights; 0 = none
    cfg.train.select = 'last'  # which round becomes selected.pth
    cfg.train.max_epoch = 0  # stock engines; derived with daam
    cfg.train.start_epoch = 0  # stock engines
    cfg.train.batch_size = 32  # images per domain
    cfg.train.fixbase_epoch = 0  # first epochs with open_layers alone
    cfg.train.open_layers = ['classifier_s']  # trained in those epochs
    cfg.train.staged_lr = False  # smaller rate for the other layers
    cfg.train.new_layers = [
        'attention',
        'attention_dsp',
        'branch_dsh',
        'branch_dsp',
        'classifier_s',
        'classifier_t',
        'nominal',
        'domain',
    ]  # full rate with staged_lr
    cfg.train.base_lr_mult = 0.1  # of the other layers with staged_lr
    cfg.train.lr_scheduler = 'multi_step'  # the paper's form
    cfg.train.stepsize = [20, 120]  # epochs of a round (section 5.2)
    cfg.train.gamma = 0.1  # factor of a drop (section 5.2)
    cfg.train.channels_last = False  # layout of maps in memory; faster
    cfg.train.precision = 'fp32'  # of steps; or bf16, fp16
    cfg.train.fused = 'auto'  # the optimiser in one kernel; on GPUs
    cfg.train.compile = False  # the backbone, by torch.compile
    cfg.train.preflight = True  # images and costs are looked at first
    cfg.train.checkpoint_minutes = 5.0  # between two; 0 = each epoch
    cfg.train.keep_last = 2  # checkpoints that stay
    cfg.train.on_nan = 'stop'  # or skip: leave such steps out
    cfg.train.max_nan = 10  # steps left out at most
    cfg.train.print_freq = 20  # batches between two lines
    cfg.train.seed = 1  # of all keyed randomness

    cfg.sgd = CN()
    cfg.sgd.momentum = 0.9  # section 5.2
    cfg.sgd.dampening = 0.0  # of momentum
    cfg.sgd.nesterov = False  # Nesterov's momentum
    cfg.rmsprop = CN()
    cfg.rmsprop.alpha = 0.99  # smoothing
    cfg.adam = CN()
    cfg.adam.beta1 = 0.9  # first moment
    cfg.adam.beta2 = 0.999  # second moment

    cfg.loss = CN()
    cfg.loss.name = 'daam'  # softmax and triplet: torchreid's engines
    cfg.loss.softmax = CN()
    cfg.loss.softmax.label_smooth = True  # stock engines
    cfg.loss.triplet = CN()
    cfg.loss.triplet.margin = 0.3  # stock triplet engine
    cfg.loss.triplet.weight_t = 1.0  # of the triplet loss
    cfg.loss.triplet.weight_x = 0.0  # of its cross entropy
    cfg.loss.daam = CN()
    cfg.loss.daam.weight_reid_s = 1.0  # of Eq. 6 in Eq. 12
    cfg.loss.daam.weight_reid_t = 1.0  # of Eq. 8
    cfg.loss.daam.weight_ds = 1.0  # of Eq. 5 or its replacement
    cfg.loss.daam.weight_dsp = 1.0  # of Eq. 10
    cfg.loss.daam.weight_orth = 1.0  # of Eq. 11
    cfg.loss.daam.weight_soft = 0.0  # of the averaged model's answers
    cfg.loss.daam.reduction = 'mean'  # mean, or sum as printed
    cfg.loss.daam.orth = 'cosine'  # cosine, or paper: squared norms
    cfg.loss.daam.domain_loss = 'occ'  # occ (Eq. 5), grl, mmd or none

    cfg.pseudo_labels = CN()
    cfg.pseudo_labels.method = 'kmeans'  # Eq. 7; or minibatch, dbscan
    cfg.pseudo_labels.num_clusters = 650  # K (5.2); 0 = found by a search
    cfg.pseudo_labels.cluster_search = 'silhouette'  # or rule: images / 20
    cfg.pseudo_labels.normalize = True  # cluster f_sh / |f_sh|
    cfg.pseudo_labels.center_cameras = False  # equal means of all cameras
    cfg.pseudo_labels.sample_weights = 'confidence'  # Eq. 9, or none
    cfg.pseudo_labels.weight_scale = 'normalized'  # or relative, raw
    cfg.pseudo_labels.head_init = 'random'  # K-way head; or centers
    cfg.pseudo_labels.eps = 0.6  # dbscan: neighbours' Jaccard distance
    cfg.pseudo_labels.min_samples = 4  # dbscan: neighbours of a core
    cfg.pseudo_labels.k1 = 30  # dbscan: nearest images that make a set
    cfg.pseudo_labels.k2 = 6  # dbscan: nearest images averaged over
    cfg.pseudo_labels.max_memory_gb = 12.0  # of clustering; 0 = any
    cfg.pseudo_labels.min_clusters = 2  # fewer that are not empty: stop
    cfg.pseudo_labels.max_share = 0.8  # of the largest cluster; more: stop

    cfg.test = CN()
    cfg.test.batch_size = 100  # images
    cfg.test.dist_metric = 'euclidean'  # or cosine
    cfg.test.evaluator = 'chunked'  # or torchreid's own, far slower
    cfg.test.feature = 'embedding'  # or pre_relu
    cfg.test.normalize_feature = False  # L2, before the distance
    cfg.test.ranks = [1, 5, 10, 20]  # printed
    cfg.test.evaluate = False  # only evaluate
    cfg.test.eval_freq = -1  # epochs between additional evaluations
    cfg.test.start_eval = 0  # epoch from which they begin
    cfg.test.rerank = False  # k-reciprocal re-ranking, with evaluate
    cfg.test.visrank = False  # pictures of ranked lists, with evaluate
    cfg.test.visrank_topk = 10  # images in such a list

    # torchreid's YAML files of 2019 still name it; it has no effect there.
    cfg.register_deprecated_key('test.visactmap')
    return cfg
