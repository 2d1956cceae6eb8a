"""One function per constructor: from the settings to its arguments."""

from typing import Any

from yacs.config import CfgNode as CN

# An order of ours that torchreid doesn't know.
OWN_SAMPLER = 'PseudoIdentitySampler'


def imagedata_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``torchreid.data.ImageDataManager``."""
    return {
        'root': cfg.data.root,
        'sources': cfg.data.sources,
        'targets': cfg.data.targets,
        'height': cfg.data.height,
        'width': cfg.data.width,
        'transforms': cfg.data.transforms,
        'k_tfm': cfg.data.k_tfm,
        'norm_mean': cfg.data.norm_mean,
        'norm_std': cfg.data.norm_std,
        'use_gpu': cfg.use_gpu,
        'split_id': cfg.data.split_id,
        'combineall': cfg.data.combineall,
        'load_train_targets': cfg.data.load_train_targets,
        'batch_size_train': cfg.train.batch_size,
        'batch_size_test': cfg.test.batch_size,
        'workers': cfg.data.workers,
        'num_instances': cfg.sampler.num_instances,
        'num_cams': cfg.sampler.num_cams,
        'num_datasets': cfg.sampler.num_datasets,
        'train_sampler': torchreids_sampler(cfg.sampler.train_sampler),
        'train_sampler_t': torchreids_sampler(cfg.sampler.train_sampler_t),
        'cuhk03_labeled': cfg.cuhk03.labeled_images,
        'cuhk03_classic_split': cfg.cuhk03.classic_split,
        'market1501_500k': cfg.market1501.use_500k_distractors,
    }


def pretrain_transform_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of torchreid's ``build_transforms``, for pretraining."""
    return {
        'height': cfg.data.height,
        'width': cfg.data.width,
        'transforms': cfg.data.pretrain_transforms,
        'norm_mean': cfg.data.norm_mean,
        'norm_std': cfg.data.norm_std,
    }


def torchreids_sampler(name: str) -> str:
    """The sampler of torchreid's own loader, which we don't train from."""
    return 'RandomSampler' if name == OWN_SAMPLER else name


def target_folder_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``data.lists.read_target``."""
    return {
        'folders': cfg.data.target_folder,
        'camera_pattern': cfg.data.camera_pattern,
        'tracklet_pattern': cfg.data.tracklet_pattern,
        'test_folder': cfg.data.target_test_folder,
    }


def transform_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``delivery.features.image_transform``."""
    return {
        'height': cfg.data.height,
        'width': cfg.data.width,
        'mean': cfg.data.norm_mean,
        'std': cfg.data.norm_std,
    }


def model_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``build_daam`` beyond torchreid's own."""
    return {
        'backbone_weights': cfg.model.backbone_weights,
        'last_stride': cfg.model.last_stride,
        'embed_dim': cfg.model.daam.embed_dim,
        'reduction': cfg.model.daam.reduction,
        'attention': cfg.model.daam.attention,
        'dsp_branch': cfg.model.daam.dsp_branch,
        'gate': cfg.model.daam.gate,
        'attention_init': cfg.model.daam.attention_init,
        'nominal_head': cfg.loss.daam.domain_loss in ('occ', 'grl'),
        'feature': cfg.test.feature,
        'seed': cfg.train.seed,
    }


def loss_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``DAAMLoss``."""
    # The averaged model's answers are no term of Eq. 12.
    return {k: v for k, v in cfg.loss.daam.items() if k != 'weight_soft'}


def averager_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``WeightAverage``."""
    return {
        'decay': cfg.train.ema_decay,
        'anew': ('classifier_t.',),
        'buffers': not cfg.adapt_bn,
        'soft': cfg.loss.daam.weight_soft > 0,
        'apart': cfg.train.forward == 'separate',
    }


def balanced_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``BalancedIdentities``."""
    return {
        'batch_size': cfg.train.batch_size,
        'num_instances': cfg.sampler.num_instances,
    }


def labeller_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``KMeansLabeller``."""
    return {
        'num_clusters': cfg.pseudo_labels.num_clusters,
        'minibatch': cfg.pseudo_labels.method == 'minibatch',
        'normalize': cfg.pseudo_labels.normalize,
        'sample_weights': cfg.pseudo_labels.sample_weights,
        'weight_scale': cfg.pseudo_labels.weight_scale,
    }


def dbscan_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``DBSCANLabeller``."""
    return {
        'eps': cfg.pseudo_labels.eps,
        'min_samples': cfg.pseudo_labels.min_samples,
        'k1': cfg.pseudo_labels.k1,
        'k2': cfg.pseudo_labels.k2,
        'sample_weights': cfg.pseudo_labels.sample_weights,
        'weight_scale': cfg.pseudo_labels.weight_scale,
        'max_memory_gb': cfg.pseudo_labels.max_memory_gb,
    }


def optimizer_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``torchreid.optim.build_optimizer``."""
    return {
        'optim': cfg.train.optim,
        'lr': cfg.train.lr,
        'weight_decay': cfg.train.weight_decay,
        'momentum': cfg.sgd.momentum,
        'sgd_dampening': cfg.sgd.dampening,
        'sgd_nesterov': cfg.sgd.nesterov,
        'rmsprop_alpha': cfg.rmsprop.alpha,
        'adam_beta1': cfg.adam.beta1,
        'adam_beta2': cfg.adam.beta2,
        'staged_lr': cfg.train.staged_lr,
        'new_layers': cfg.train.new_layers,
        'base_lr_mult': cfg.train.base_lr_mult,
    }


def restart_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``optim.build_restart_scheduler``."""
    return {
        'pretrain_epoch': cfg.train.pretrain_epoch,
        'round_epoch': cfg.train.round_epoch,
        'lr': cfg.train.lr,
        'pretrain_lr': cfg.train.pretrain_lr,
        'stepsize': cfg.train.stepsize,
        'pretrain_stepsize': cfg.train.pretrain_stepsize,
        'gamma': cfg.train.gamma,
        'schedule': cfg.train.lr_scheduler,
        'pretrain_schedule': cfg.train.pretrain_lr_scheduler,
    }


def lr_scheduler_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``torchreid.optim.build_lr_scheduler``."""
    return {
        'lr_scheduler': cfg.train.lr_scheduler,
        'stepsize': cfg.train.stepsize,
        'gamma': cfg.train.gamma,
        'max_epoch': cfg.train.max_epoch,
    }


def engine_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``ImageDAAMEngine`` that come from the settings."""
    return {
        'use_gpu': cfg.use_gpu,
        'pretrain_epoch': cfg.train.pretrain_epoch,
        'rounds': cfg.train.rounds,
        'round_epoch': cfg.train.round_epoch,
        'epoch_length': cfg.train.epoch_length,
        'stop_agreement': cfg.train.stop_agreement,
        'adapt_bn': cfg.adapt_bn,
        'head_init': cfg.pseudo_labels.head_init,
        'seed': cfg.train.seed,
        'cache': cfg.data.cache,
    }


def engine_run_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of torchreid's ``Engine.run``."""
    return {
        'save_dir': cfg.data.save_dir,
        'max_epoch': cfg.train.max_epoch,
        'start_epoch': cfg.train.start_epoch,
        'fixbase_epoch': cfg.train.fixbase_epoch,
        'open_layers': cfg.train.open_layers,
        'start_eval': cfg.test.start_eval,
        'eval_freq': cfg.test.eval_freq,
        'test_only': cfg.test.evaluate,
        'print_freq': cfg.train.print_freq,
        'dist_metric': cfg.test.dist_metric,
        'normalize_feature': cfg.test.normalize_feature,
        'visrank': cfg.test.visrank,
        'visrank_topk': cfg.test.visrank_topk,
        'use_metric_cuhk03': cfg.cuhk03.use_metric_cuhk03,
        'ranks': cfg.test.ranks,
        'rerank': cfg.test.rerank,
    }


def guard_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``StepGuard``."""
    return {
        'on_nan': cfg.train.on_nan,
        'limit': cfg.train.max_nan,
        'every': cfg.train.print_freq,
    }


def label_guard_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``GuardedLabeller`` beside the labeller."""
    return {
        'min_clusters': cfg.pseudo_labels.min_clusters,
        'max_share': cfg.pseudo_labels.max_share,
        'min_images': cfg.train.batch_size,
    }


def history_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``CheckpointHistory`` beside the folder."""
    return {
        'minutes': cfg.train.checkpoint_minutes,
        'keep_last': cfg.train.keep_last,
        'keep_epoch': cfg.train.pretrain_epoch,
    }
