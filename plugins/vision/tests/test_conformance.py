"""What every task of mamba-core promises, checked on this plugin's."""

from __future__ import annotations

from mamba_core.testing import parametrize_task_checks


@parametrize_task_checks("vision-cls")
def test_vision_cls(check):
    check()


@parametrize_task_checks("vision-backbone")
def test_vision_backbone(check):
    check()


@parametrize_task_checks("vision-seg")
def test_vision_seg(check):
    check()


@parametrize_task_checks("video-cls")
def test_video_cls(check):
    check()


@parametrize_task_checks("points-cls")
def test_points_cls(check):
    check()
