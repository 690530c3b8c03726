"""Where the authors of Vim and VMamba keep their weights of ImageNet-1K. Light: no torch.

The publishers give no hash, so the records have none: that of the first download is printed and
held from then on. None of these files has been loaded by us; there was no network.
"""

from __future__ import annotations

from mamba_registry.specs import WeightsSpec

_HUB = "https://huggingface.co/hustvl/"
_VIM = {
    "vim_tiny": "Vim-tiny-midclstok/resolve/main/vim_t_midclstok_76p1acc.pth",
    "vim_small": "Vim-small-midclstok/resolve/main/vim_s_midclstok_80p5acc.pth",
    "vim_base": "Vim-base-midclstok/resolve/main/vim_b_midclstok_81p9acc.pth",
}
_RELEASE = "https://github.com/MzeroMiko/VMamba/releases/download/%23v2cls/"
_VMAMBA = {
    "vmamba_tiny": "vssm1_tiny_0230s_ckpt_epoch_264.pth",
    "vmamba_small": "vssm_small_0229_ckpt_epoch_222.pth",
    "vmamba_base": "vssm_base_0229_ckpt_epoch_237.pth",
}


def _record(preset: str, url: str, licence: str) -> WeightsSpec:
    return WeightsSpec(
        name=f"{preset}-imagenet",
        preset=preset,
        url=url,
        sha256=None,
        licence=f"{licence}; trained on ImageNet-1K, whose images are for research",
        converter=f"mamba_vision.classification.convert:{preset}",
    )


OFFICIAL = (
    *(_record(preset, _HUB + path, "Apache-2.0") for preset, path in _VIM.items()),
    *(_record(preset, _RELEASE + path, "MIT") for preset, path in _VMAMBA.items()),
)
"""The records, by preset."""
