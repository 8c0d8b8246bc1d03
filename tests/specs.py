"""One row for every model config: tiny sizes to run it at, and its golden parameter count.

A test in test_configs.py fails for a YAML in conf/model without a row.
"""

from __future__ import annotations

from typing import NamedTuple


class ModelSpec(NamedTuple):
    """A row of the model table.

    config: name in conf/model. tiny: overrides (of any top-level key) that make it run in a
    blink. parameters: exact trainable count at the YAML's own sizes with `overrides`;
    published: what the paper quotes, with a word where it differs (the docstring explains).
    samples: a length that the tiny model can learn on. steps and learning_rate: for the overfit row.
    """

    config: str
    tiny: tuple[str, ...]
    parameters: int | None = None
    overrides: tuple[str, ...] = ()
    published: str = ""
    samples: int = 4096
    learning_rate: float = 1e-2


# fmt: off
MODELS: list[ModelSpec] = [
    # --- waveform
    ModelSpec(
        "conv_tasnet",
        ("model.bases=16", "model.bottleneck=16", "model.hidden=32", "model.blocks=2", "model.repeats=1"), parameters=10977872, published="8.75M..10.98M",
    ),
    ModelSpec(
        "conv_tasnet_x8",
        ("model.bases=16", "model.bottleneck=16", "model.hidden=32", "model.blocks=2", "model.repeats=1"), parameters=8852032,
    ),
    ModelSpec(
        "conv_tasnet_small",
        ("model.bases=16", "model.bottleneck=16", "model.hidden=32", "model.blocks=2", "model.repeats=1"),
    ),
    ModelSpec(
        "conv_tasnet_speech",
        ("model.bases=16", "model.bottleneck=16", "model.hidden=32", "model.blocks=2", "model.repeats=1", "model.skip=16", "model.last_residual=false"), parameters=5050545, overrides=("targets=[vocals,drums]",), published="5.1M (with the unread residual of the last block)",
    ),
    ModelSpec(
        "conv_tasnet_speech",
        ("model.bases=16", "model.bottleneck=16", "model.hidden=32", "model.blocks=2", "model.repeats=1", "model.skip=16", "model.last_residual=false"), parameters=4984881, overrides=("targets=[vocals,drums]", "model.last_residual=false"), published="torchaudio's count",
    ),
    ModelSpec("demucs", ("model.width=4", "model.depth=3"), parameters=265679496, overrides=(), published='66.42M (= this / 4)'),
    ModelSpec("demucs", ("model.width=4", "model.depth=3"), parameters=89451144, overrides=("model.lstm_layers=0",), published=''),
    ModelSpec("demucs", ("model.width=4", "model.depth=3"), parameters=243307272, overrides=("model.activation=relu",), published=''),
    ModelSpec("demucs", ("model.width=4", "model.depth=3"), parameters=220935048, overrides=("model.rewrite=false",), published=''),
    ModelSpec("demucs", ("model.width=4", "model.depth=3"), parameters=243315336, overrides=("model.context_kernel=1",), published=''),
    ModelSpec("demucs", ("model.width=4", "model.depth=3"), parameters=265708760, overrides=("model.upsampling=decimation",), published=''),
    ModelSpec("demucs", ("model.width=4", "model.depth=3"), parameters=1043376, overrides=("model.width=4",), published=''),
    ModelSpec("demucs_100", ("model.width=4", "model.depth=3"), parameters=648548208, published="648M"),
    ModelSpec("demucs_small", ("model.width=4", "model.depth=3")),
    ModelSpec("wave_u_net", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=10263498, published="10.20M"),
    ModelSpec("wave_u_net_m1", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=10263028, overrides=("targets=[vocals,drums]",), published='10.20M'),
    ModelSpec("wave_u_net_m1", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=10263002, overrides=("targets=[vocals,drums]","model.residual=1",), published='M2'),
    ModelSpec("wave_u_net_m4", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=10263002, overrides=("targets=[vocals,drums]","model.channels=1",), published='M3'),
    ModelSpec("wave_u_net_m4", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=10263390, overrides=("targets=[vocals,drums]",), published='10.20M'),
    ModelSpec("wave_u_net_m4", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=20594652, overrides=("targets=[vocals,drums]","model.channels=1","model.width=34",), published='M7'),
    ModelSpec("wave_u_net_m5", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=10265550, overrides=("targets=[vocals,drums]",), published='10.20M'),
    ModelSpec("wave_u_net_conditioned", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=10264950, overrides=(), published=''),
    ModelSpec("wave_u_net_lstm", ("model.levels=3", "model.width=4", "model.down_kernel=5", "model.lstm=4"), parameters=None, overrides=(), published=''),
    ModelSpec("wave_u_net_dense", ("model.levels=3", "model.width=4", "model.down_kernel=5", "model.growth=3"), parameters=None, overrides=(), published=''),
    ModelSpec("wave_u_net_dwt", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=None, overrides=(), published=''),
    ModelSpec("wave_u_net_small", ("model.levels=3", "model.width=4", "model.down_kernel=5"), parameters=None, overrides=(), published=''),
    ModelSpec("wavenet", ("model.stacks=1", "model.dilations=[1,2,4,8]", "model.width=8", "model.skip=8", "model.final_widths=[16,8]"), parameters=3277763, overrides=(), published='3.30M'),
    ModelSpec("wavenet", ("model.stacks=1", "model.dilations=[1,2,4,8]", "model.width=8", "model.skip=8", "model.final_widths=[16,8]"), parameters=3277249, overrides=("targets=[vocals,other]",), published='singing voice'),
    ModelSpec("wavenet", ("model.stacks=1", "model.dilations=[1,2,4,8]", "model.width=8", "model.skip=8", "model.final_widths=[16,8]"), parameters=3278726, overrides=("model.channels=2",), published='stereo'),
    ModelSpec("wavenet_small", ("model.stacks=1", "model.dilations=[1,2,4,8]", "model.width=8", "model.skip=8", "model.final_widths=[16,8]"), parameters=None, overrides=(), published=''),
    ModelSpec("tasnet", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.hidden=8", "model.layers=2"), parameters=24155000, overrides=(), published='23.6M (mono, two sources)'),
    ModelSpec("tasnet", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.hidden=8", "model.layers=2"), parameters=23094000, overrides=("targets=[vocals,drums]","model.channels=1",), published='23.6M'),
    ModelSpec("tasnet", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.hidden=8", "model.layers=2"), parameters=31094000, overrides=("targets=[vocals,drums]","model.channels=1","model.hidden=1000","model.bidirectional=false",), published='causal'),
    ModelSpec("tasnet", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.hidden=8", "model.layers=2"), parameters=21532032, overrides=("model.channels=1","model.bases=64","model.kernel=16","model.stride=8","model.hidden=512",), published='Asteroid'),
    ModelSpec("tasnet_small", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.hidden=8", "model.layers=2"), parameters=None, overrides=(), published=''),
    ModelSpec("deep_conv_tasnet", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.bottleneck=8", "model.hidden=12", "model.blocks=2", "model.repeats=1", "model.encoder_depth=2", "model.decoder_depth=2"), parameters=9770681, overrides=("targets=[vocals,drums]",), published=''),
    ModelSpec("deep_conv_tasnet", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.bottleneck=8", "model.hidden=12", "model.blocks=2", "model.repeats=1", "model.encoder_depth=2", "model.decoder_depth=2"), parameters=8196791, overrides=("targets=[vocals,drums]","model.dilated=false","model.encoder_depth=3","model.decoder_depth=3",), published=''),
    ModelSpec("deep_conv_tasnet_music", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.bottleneck=8", "model.hidden=12", "model.blocks=2", "model.repeats=1", "model.encoder_depth=2", "model.decoder_depth=2"), parameters=None, overrides=(), published=''),
    ModelSpec("deep_conv_tasnet_small", ("model.bases=16", "model.kernel=20", "model.stride=10", "model.bottleneck=8", "model.hidden=12", "model.blocks=2", "model.repeats=1", "model.encoder_depth=2", "model.decoder_depth=2"), parameters=None, overrides=(), published=''),
    # a tenth of the output gain is for twenty thousand taps; these tiny layers have a few hundred
    ModelSpec("mrcae", ("model.frame=65", "model.hop=16", "model.kernels=[4,9,65]", "model.output_kernel=65", "model.filters=3", "model.layers=2", "model.output_gain=1.0"), parameters=2912062, overrides=("targets=[vocals]",), published=''),
    ModelSpec("mrcae", ("model.frame=65", "model.hop=16", "model.kernels=[4,9,65]", "model.output_kernel=65", "model.filters=3", "model.layers=2", "model.output_gain=1.0"), parameters=11368122, overrides=("targets=[vocals]","model.filters=20",), published=''),
    ModelSpec("mrcae_small", ("model.frame=65", "model.hop=16", "model.kernels=[4,9,65]", "model.output_kernel=65", "model.filters=3", "model.layers=2", "model.output_gain=1.0"), parameters=None, overrides=(), published=''),
    ModelSpec("meta_tasnet", ("model.bases=[8,16]", "model.kernels=[10,20]", "model.n_ffts=[64,128]", "model.compressed=8", "model.width=8", "model.hidden=8", "model.blocks=2", "model.repeats=1", "model.groups=2", "model.last_residual=false"), parameters=45531260, overrides=(), published='12.00M (does not follow from the released defaults)'),
    ModelSpec("meta_tasnet", ("model.bases=[8,16]", "model.kernels=[10,20]", "model.n_ffts=[64,128]", "model.compressed=8", "model.width=8", "model.hidden=8", "model.blocks=2", "model.repeats=1", "model.groups=2", "model.last_residual=false"), parameters=34673054, overrides=("model.embedding=0",), published='independent weights'),
    ModelSpec("meta_tasnet", ("model.bases=[8,16]", "model.kernels=[10,20]", "model.n_ffts=[64,128]", "model.compressed=8", "model.width=8", "model.hidden=8", "model.blocks=2", "model.repeats=1", "model.groups=2", "model.last_residual=false"), parameters=10061812, overrides=("model.bases=[440]","model.kernels=[20]","model.n_ffts=[1024]",), published='one stage'),
    ModelSpec("meta_tasnet_small", ("model.bases=[8,16]", "model.kernels=[10,20]", "model.n_ffts=[64,128]", "model.compressed=8", "model.width=8", "model.hidden=8", "model.blocks=2", "model.repeats=1", "model.groups=2", "model.last_residual=false"), parameters=None, overrides=(), published=''),
    # --- spectrogram
    ModelSpec(
        "open_unmix",
        ("model.n_fft=256", "model.hop=64", "model.hidden=8", "model.layers=1"),
        parameters=35573392,
        published="8.90M (one target)",
    ),
    ModelSpec(
        "open_unmix_l",
        ("model.n_fft=256", "model.hop=64", "model.hidden=8", "model.layers=1"),
        parameters=113028752,
    ),
    ModelSpec("open_unmix_small", ("model.n_fft=256", "model.hop=64", "model.hidden=8")),
    ModelSpec(
        "x_umx",
        ("model.n_fft=256", "model.hop=64", "model.hidden=8", "model.layers=1"),
        parameters=35573392,
    ),
    ModelSpec(
        "open_unmix_speech",
        ("model.n_fft=256", "model.hop=64", "model.hidden=8", "model.layers=1"),
        overrides=("targets=[vocals,other]",),
    ),
    ModelSpec(
        "u_net",
        ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]"),
        parameters=9823313,
        overrides=("targets=[vocals]",),
        published="9.8M",
    ),
    ModelSpec("u_net_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec(
        "u_net_full",
        ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]"),
        parameters=9829320,
    ),
    ModelSpec(
        "u_net_channels",
        ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]"),
        parameters=9825716,
        published="9.84M",
    ),
    ModelSpec("u_net_channels_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec(
        "mmdensenet",
        ("model.n_fft=128", "model.hop=64", "model.bands.low.bins=20", "targets=[vocals,other]"),
        parameters=339468,
        overrides=("targets=[vocals]",),
        published="0.33M",
    ),
    ModelSpec(
        "mmdensenet_small",
        ("model.n_fft=128", "model.hop=64", "model.bands.low.bins=20", "targets=[vocals,other]"),
    ),
    ModelSpec(
        "mmdenselstm",
        (
            "model.n_fft=128",
            "model.hop=64",
            "model.bands.low.bins=20",
            "model.bands.middle.bins=20",
            "targets=[vocals,other]",
        ),
        parameters=1370784,
        overrides=("targets=[vocals]",),
        published="1.22M",
    ),
    ModelSpec(
        "mmdenselstm_small",
        ("model.n_fft=128", "model.hop=64", "model.bands.low.bins=20", "targets=[vocals,other]"),
    ),
    ModelSpec(
        "drnn", ("model.n_fft=128", "model.hop=64", "model.hidden=16"), parameters=17354196
    ),
    ModelSpec(
        "drnn_speech",
        ("model.n_fft=128", "model.hop=64", "model.hidden=16"),
        parameters=5569026,
        overrides=("targets=[vocals,other]",),
    ),
    ModelSpec("drnn_small", ("model.n_fft=128", "model.hop=64", "model.hidden=16")),
    ModelSpec(
        "deepconvsep",
        ("model.n_fft=128", "model.hop=64", "model.spectral=8", "model.bottleneck=16"),
        parameters=314422,
        published="0.32M",
    ),
    ModelSpec(
        "deepconvsep_small",
        ("model.n_fft=128", "model.hop=64", "model.spectral=8", "model.bottleneck=16"),
    ),
    ModelSpec(
        "sams_net",
        ("model.n_fft=128", "model.hop=64", "model.width=8", "model.blocks=1"),
        parameters=3741640,
        published="3.70M (a reconstruction)",
    ),
    ModelSpec("sams_net_small", ("model.n_fft=128", "model.hop=64", "model.blocks=1")),
    # --- complex
    ModelSpec(
        "crn",
        ("model.n_fft=64", "model.hop=32", "model.widths=[4,6]", "model.hidden=16"),
        parameters=9117274,
        overrides=("targets=[vocals]",),
    ),
    ModelSpec(
        "crn_gated",
        ("model.n_fft=64", "model.hop=32", "model.widths=[4,6]", "model.hidden=16"),
        parameters=9771340,
        overrides=("targets=[vocals]",),
    ),
    ModelSpec(
        "crn_music", ("model.n_fft=64", "model.hop=32", "model.widths=[4,6]", "model.hidden=16")
    ),
    ModelSpec(
        "crn_small", ("model.n_fft=64", "model.hop=32", "model.widths=[4,6]", "model.hidden=16")
    ),
    ModelSpec("real_mask", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("real_mask_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("complex_mask", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("complex_mask_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("magbook", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("magbook_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("phasebook", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("phasebook_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("combook", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("combook_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("complex_mapping", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("complex_mapping_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("real_spectrum", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("real_spectrum_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("decoupled", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    ModelSpec("decoupled_small", ("model.n_fft=128", "model.hop=64", "model.widths=[4,6,8]")),
    # --- modern
    # --- other
    ModelSpec("band_mask", ("model.n_fft=256", "model.hop=128", "model.bands=16", "model.width=4", "model.dilations=[[1,1],[2,1]]"), parameters=30008),
]
# fmt: on
