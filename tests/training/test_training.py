"""Training: what is learned from, that it is learned, and that stopping costs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emrdiff_cli import zoo
from emrdiff_cli.checkpoint import load_model
from emrdiff_cli.config import read_toml
from emrdiff_cli.core.diffusion.supervision import training_scene
from emrdiff_cli.core.sensor.degradation import Psf
from emrdiff_cli.core.sensor.grid import AxisPlacement
from emrdiff_cli.core.sensor.resampling import apply_taps
from emrdiff_cli.errors import ConfigError, InputError, ModelError, OutputExistsError
from emrdiff_cli.pair.modes import AskedGeometry
from emrdiff_cli.report.page import REPORT
from emrdiff_cli.training import loop as training
from emrdiff_cli.training.examples import Examples, read_archive, read_scene
from emrdiff_cli.training.loop import STATE, TrainingSet, TrainingStatus, Validation, train
from emrdiff_cli.training.model_folder import Job, check_free, make_job, run_job
from emrdiff_cli.zoo import CARD, TRAINING, VALIDATED, WEIGHTS
from tests.support.pairs import BANDS, FINE, RATIO, displaced, write_pair
from tests.support.scenes import COUNT, read, textured, write_cube
from tests.support.training_archives import (
    RESPONSE,
    SIDE,
    SMALL_MODEL,
    SMALL_TRAINING,
    Weights,
    same,
    write_archive,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return read_archive(write_archive(tmp_path_factory.mktemp("data") / "archive"), 4, RESPONSE, 0.3)


@pytest.fixture(scope="module")
def job(examples: Examples) -> Job:
    return make_job(examples, {**SMALL_MODEL, "levels": 1}, SMALL_TRAINING)


def run(job: Job, folder: Path, **options: Any) -> tuple[Weights, list[Validation]]:
    folder.mkdir(exist_ok=True)
    model, history = train(job.training_set, job.model, job.training, str(folder), CPU, **options)
    return model.state_dict(), history


@pytest.fixture(scope="module")
def uninterrupted(job: Job, tmp_path_factory: pytest.TempPathFactory) -> tuple[Weights, list[Validation]]:
    return run(job, tmp_path_factory.mktemp("whole"))


# What is learned from


def test_a_scene_may_weigh_by_its_own_residual(job: Job) -> None:
    def weights(power: float) -> list[torch.Tensor]:
        config = dataclasses.replace(job.training, scene_power=power)
        return [training_scene(job.model, config, sample, CPU).weight for sample in job.training_set.learned]

    for sample, alike, own in zip(job.training_set.learned, weights(0.0), weights(1.0), strict=True):
        size = np.sqrt(np.square(sample.target[:, sample.pair.scored]).mean(axis=1))
        np.testing.assert_allclose(own.numpy() * size, alike.numpy(), rtol=1e-5)


def test_lateral_colour_is_learned_from_whole_frames_alone(tmp_path: Path) -> None:
    options = {**SMALL_MODEL, "detail_filter": 3, "lateral_colour": True}
    whole = make_job(
        read_archive(write_archive(tmp_path / "whole"), 4, RESPONSE, 0.3), options, SMALL_TRAINING
    )
    found = whole.training_set.learned[0].channels.detail_filter
    assert found is not None
    assert found.shape == (4, 1 + 3, 9 + 2)
    (tmp_path / "cut").mkdir()
    for number in range(2):
        write_cube(tmp_path / "cut" / f"{number}.tif", textured(BANDS, 520, 16, number))
    cut = read_archive(tmp_path / "cut", 4, RESPONSE, 0.3)
    with pytest.raises(ConfigError, match=r"lateral_colour.*512 x 512 pixels, or leave it out"):
        make_job(cut, options, SMALL_TRAINING)
    make_job(cut, {**options, "lateral_colour": False}, SMALL_TRAINING)


def test_an_archives_last_scenes_are_held_out(examples: Examples) -> None:
    assert (len(examples.learned), len(examples.held_out)) == (2, 1)
    np.testing.assert_allclose(examples.held_out[0].hr_hsi, textured(BANDS, SIDE, SIDE, 2), atol=COUNT)
    assert (examples.ratio, examples.msi_bands, examples.peak) == (4, 3, 1)
    assert examples.msi_centres_nm == pytest.approx((460, 560, 660), abs=1)


def test_pixels_without_a_value_are_neither_learned_nor_judged(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive")
    holed = textured(BANDS, SIDE, SIDE, 0)
    holed[3, 10:14, 18:28] = np.nan
    write_cube(archive / "scene-0.tif", holed)
    job = make_job(read_archive(archive, 4, RESPONSE, 0.3), SMALL_MODEL, SMALL_TRAINING)
    sample = job.training_set.learned[0]
    assert not sample.pair.scored[10:14, 18:28].any()
    assert sample.pair.scored.sum() == SIDE**2 - 40
    assert all(np.isfinite(field).all() for field in (sample.target, sample.inputs.guidance))


def test_a_pair_teaches_its_upper_rows_and_is_judged_on_its_last(tmp_path: Path) -> None:
    lr, msi = write_pair(tmp_path, 128, 144)
    learned = read_scene(lr, msi, 0.25)
    assert len(learned.learned) == 4  # one for each phase of the simulated LR grid
    for pair in learned.learned:
        np.testing.assert_allclose(pair.hr_hsi, read(lr), atol=1e-6)
        assert pair.hr_msi.shape == (3, 32, 36)
        assert pair.lr_hsi.shape[1] in (8, 9)
        assert not (pair.scored & learned.held_out[0].scored).any()
    assert learned.held_out[0].scored[24:, 1:-1].mean() > 0.9
    assert not learned.held_out[0].scored[:24].any()


def test_nothing_is_learned_from_ground_that_changed(tmp_path: Path) -> None:
    as_it_is = AskedGeometry("off")
    pair = displaced(tmp_path, (0.0, 0.0))
    clean = read_scene(*pair, 0.25, as_it_is)
    msi = read(pair[1])
    msi[:, 40:72, 44:76] = 0.3 * msi[:, 40:72, 44:76] + 0.6
    clouded = read_scene(pair[0], write_cube(tmp_path / "cloud.tif", msi, transform=FINE), 0.25, as_it_is)
    for with_cloud, without in zip(clouded.learned, clean.learned, strict=True):
        assert without.scored[10:18, 11:19].all()
        assert not with_cloud.scored[10:18, 11:19].any()
        assert (without.scored & ~with_cloud.scored).sum() < 2 * 12 * 12
        # What is degraded beside the cloud sees nothing of it.
        np.testing.assert_allclose(with_cloud.hr_msi, without.hr_msi, atol=0.03)
    assert any("nothing is learned from them" in note for note in clouded.notes)
    assert not clouded.calibration[0].valid[10:18, 11:19].any()


def test_a_pair_is_degraded_by_the_psf_that_it_has(tmp_path: Path) -> None:
    pair = displaced(tmp_path, (0.0, 0.0))
    narrow, wide = (
        read_scene(*pair, 0.25, AskedGeometry(psf_fwhm=(width, width), shift=(0.0, 0.0))).learned[0]
        for width in (RATIO, 1.5 * RATIO)
    )
    place, lr = AxisPlacement(RATIO, 0.0), read(pair[0])
    for seen, width in ((narrow, 1.0), (wide, 1.5)):
        down = Psf.of_fwhm(RATIO * width, RATIO * width).down(place, place, (10, 10), (40, 40))
        np.testing.assert_allclose(seen.lr_hsi, apply_taps(lr, *down), atol=1e-6)


def test_a_pair_degraded_by_less_than_its_ratio_has_a_psf_as_much_narrower(tmp_path: Path) -> None:
    examples = read_scene(
        *write_pair(tmp_path, 40, 40), 0.25, AskedGeometry(shift=(0.0, 0.0), psf_fwhm=(6.0, 5.0))
    )
    down = examples.learned[0].resampling.down
    place = AxisPlacement(2.0, 0.0)
    expected = Psf.of_fwhm(3.0, 2.5).down(place, place, (5, 5), (10, 10))
    image = np.random.default_rng(0).uniform(size=(1, 10, 10)).astype(np.float32)
    np.testing.assert_allclose(apply_taps(image, *down), apply_taps(image, *expected), atol=1e-6)


def test_a_pair_too_small_to_be_degraded_once_more(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few to be degraded"):
        read_scene(*write_pair(tmp_path, 16, 16), 0.15)


def test_a_pair_too_small_for_its_ratio_is_degraded_by_less(tmp_path: Path) -> None:
    examples = read_scene(*write_pair(tmp_path, 40, 40), 0.25)
    assert [pair.lr_hsi.shape[1:] for pair in examples.learned] == [(5, 5), (5, 6), (6, 5), (6, 6)]
    assert examples.ratio == 4
    assert "degraded by 2" in examples.described
    assert "too few to be degraded by 4 once more: degraded by 2" in examples.notes[0]


def write_other_bands(folder: Path) -> None:
    write_cube(folder / "scene-1.tif", textured(BANDS + 1, SIDE, SIDE))


@pytest.mark.parametrize(
    ("count", "change", "said"),
    [
        (1, lambda _: None, "two HR-HSI rasters or more, here are 1"),
        (2, write_other_bands, "has 9 bands"),
        (2, lambda folder: (folder / "scene-1.tif").write_text("text"), "neither GeoTIFF nor ENVI"),
        (2, lambda folder: write_cube(folder / "scene-0.tif", np.ones((8, 3, 32))), "scene-0"),
    ],
    ids=["one scene", "other bands", "no raster", "smaller than an LR pixel"],
)
def test_archives_that_cannot_be_learned_from(
    tmp_path: Path, count: int, change: Callable[[Path], object], said: str
) -> None:
    archive = write_archive(tmp_path / "archive", count)
    change(archive)
    with pytest.raises(InputError, match=said):
        read_archive(archive, 4, RESPONSE, 0.15)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_archive(tmp_path / "none", 4, RESPONSE, 0.15)


def test_something_is_left_to_learn_from_however_much_is_held_out(tmp_path: Path) -> None:
    examples = read_archive(write_archive(tmp_path / "archive", 2), 4, RESPONSE, 0.9)
    assert examples.learned
    assert examples.held_out


def test_patches_are_cut_to_what_the_scenes_hold(examples: Examples) -> None:
    job = make_job(examples, {"subspace": 4, "levels": 5}, {"patch": 200})
    assert job.training.patch == job.model.tile == SIDE


def test_options_are_checked_before_anything_is_learned(examples: Examples) -> None:
    with pytest.raises(ConfigError, match="unknown option 'kapa'"):
        make_job(examples, {"subspace": 4, "kapa": 1.0}, {})
    with pytest.raises(InputError, match="--set levels="):
        make_job(examples, {"subspace": 4, "levels": 7}, {})


# Learning


def test_an_untrained_network_scores_as_its_end_point(
    uninterrupted: tuple[Weights, list[Validation]],
) -> None:
    start = uninterrupted[1][0]
    assert (start.iteration, len(start.psnr_by_step_db)) == (0, 2)
    assert start.psnr_by_step_db == pytest.approx([start.end_point_db] * 2, abs=1e-3)


@pytest.mark.slow
def test_training_lowers_the_loss_and_ends_above_the_end_point(examples: Examples, tmp_path: Path) -> None:
    """From the upsampled LR-HSI there is much to learn from the MSI."""
    job = make_job(
        examples,
        {**SMALL_MODEL, "width": 8, "end_point": "bicubic", "detail_filter": 0},
        {**SMALL_TRAINING, "iterations": 40, "validate_every": 20, "learning_rate": 1e-2},
    )
    losses: list[float] = []
    weights, history = run(job, tmp_path, report=lambda status: losses.append(status.loss))
    # What is reported is a running mean; these are the losses themselves.
    single = (np.array(losses[1:]) - 0.98 * np.array(losses[:-1])) / 0.02
    assert single[-10:].mean() < 0.9 * single[:8].mean()
    assert history[-1].psnr_by_step_db[-1] > history[0].end_point_db + 0.5
    stored = load_model(tmp_path / WEIGHTS)
    assert same(stored.state_dict(), weights)
    again = training.validate(stored, job.training_set)
    assert again.psnr_by_step_db == pytest.approx(history[-1].psnr_by_step_db, abs=1e-3)


def test_the_weights_that_validated_best_are_kept(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here those of iteration 3; later ones are said to be worse."""
    scores, seen = iter([20.0, 30.0, 25.0, 25.0, 30.0]), []

    def scored(model: Any, _training_set: TrainingSet, iteration: int = 0) -> Validation:
        seen.append({name: value.clone() for name, value in model.named_parameters()})
        return Validation(iteration, (next(scores),), 20.0)

    monkeypatch.setattr(training, "validate", scored)
    weights, _ = run(job, tmp_path)
    assert same(seen[1], weights)
    assert not same(seen[2], weights)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_moments_tell_where_training_stands(
    job: Job, tmp_path: Path, uninterrupted: tuple[Weights, list[Validation]]
) -> None:
    statuses: list[TrainingStatus] = []
    weights, _ = run(job, tmp_path, report=statuses.append)
    assert same(weights, uninterrupted[0])
    assert [status.iteration for status in statuses] == list(range(1, 9))
    assert [m.iteration for m in statuses if m.validation is not None] == [3, 6, 8]
    assert all(status.seconds_left >= 0 and np.isfinite(status.loss) for status in statuses)
    # The gates are settled and the weights validated once more after the last.
    assert 0 < statuses[-1].seconds_left < sum(status.seconds_left for status in statuses[:-1])


def test_another_seed_gives_other_weights(
    job: Job, tmp_path: Path, uninterrupted: tuple[Weights, list[Validation]]
) -> None:
    reseeded = dataclasses.replace(job, training=dataclasses.replace(job.training, seed=1))
    assert not same(run(reseeded, tmp_path / "other")[0], uninterrupted[0])


# Stopping and going on


class Stopped(BaseException):
    """What Ctrl-C or a kill is to the training."""


def stop_at(iteration: int) -> Callable[[TrainingStatus], None]:
    def watch(status: TrainingStatus) -> None:
        if status.iteration == iteration:
            raise Stopped

    return watch


@pytest.mark.slow
@pytest.mark.parametrize("iteration", [1, 5, 8])
def test_stopped_and_resumed_is_bit_for_bit_uninterrupted(
    job: Job, tmp_path: Path, uninterrupted: tuple[Weights, list[Validation]], iteration: int
) -> None:
    with pytest.raises(Stopped):
        run(job, tmp_path, report=stop_at(iteration))
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    weights, history = run(job, tmp_path, resume=True)
    assert same(weights, uninterrupted[0])
    assert history == uninterrupted[1]
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["training_loss", "average_weights"])
def test_stopped_within_an_iteration_is_no_different(
    job: Job,
    tmp_path: Path,
    uninterrupted: tuple[Weights, list[Validation]],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    original, calls = getattr(training, where), []

    def stopping(*arguments: Any) -> Any:
        result = original(*arguments)
        calls.append(where)
        if len(calls) == 6:
            raise Stopped
        return result

    monkeypatch.setattr(training, where, stopping)
    with pytest.raises(Stopped):
        run(job, tmp_path)
    weights, history = run(job, tmp_path, resume=True)
    assert same(weights, uninterrupted[0])
    assert history == uninterrupted[1]


def test_stopped_while_a_checkpoint_is_written_leaves_the_last_one_whole(
    job: Job,
    tmp_path: Path,
    uninterrupted: tuple[Weights, list[Validation]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, calls = torch.save, []

    def stopping(state: dict[str, Any], path: Path) -> None:
        calls.append(path)
        if len(calls) == 3:
            Path(path).write_bytes(b"half a checkpoint")
            raise Stopped
        original(state, path)

    monkeypatch.setattr(torch, "save", stopping)
    with pytest.raises(Stopped):
        run(job, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    assert same(run(job, tmp_path, resume=True)[0], uninterrupted[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"iterations": 9}, {"learning_rate": 1e-3}, {"seed": 1}, {"chain": "truth"}],
    ids=lambda changes: next(iter(changes)),
)
def test_other_options_do_not_resume(job: Job, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(Stopped):
        run(job, tmp_path, report=stop_at(5))
    other = dataclasses.replace(job, training=dataclasses.replace(job.training, **changes))
    with pytest.raises(ModelError, match="other options or data"):
        run(other, tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


def test_other_models_or_data_do_not_resume(job: Job, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(job, tmp_path, report=stop_at(5))
    learned, held_out = list(job.training_set.learned), list(job.training_set.held_out)
    others = [
        dataclasses.replace(job, model=dataclasses.replace(job.model, kappa=2.0)),
        dataclasses.replace(job, training_set=TrainingSet(learned[::-1], held_out, 1.0)),
        dataclasses.replace(job, training_set=TrainingSet(learned, learned[:1], 1.0)),
    ]
    for other in others:
        with pytest.raises(ModelError, match="other options or data"):
            run(other, tmp_path, resume=True)


def test_there_must_be_something_to_resume(job: Job, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no training to resume"):
        run(job, tmp_path, resume=True)


def test_a_damaged_checkpoint_is_one_error(job: Job, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(b"half a checkpoint")
    with pytest.raises(ModelError, match=STATE):
        run(job, tmp_path, resume=True)


# Folders


def test_a_model_folder_holds_weights_card_and_what_repeats_it(
    job: Job, examples: Examples, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny-x4"
    check_free(folder, resume=False, overwrite=False)
    run_job(job, folder, "cpu", resume=False, note="Made of textures; free to use.")
    written = [WEIGHTS, CARD, TRAINING, VALIDATED, REPORT]
    assert sorted(path.name for path in folder.iterdir()) == sorted(written)
    gain = zoo.find(str(folder)).gain_over_kriging_db
    assert gain is not None
    better = "better" if gain > 0 else "worse"
    assert f"the model is {abs(gain):.2f} dB {better} than kriging" in (folder / CARD).read_text()
    card = (folder / CARD).read_text()
    for said in ("# tiny-x4", "Made of textures", "Ratio: 4", "HSI: 8 bands", "MSI: 3 bands", "seed 0"):
        assert said in card
    repeated = make_job(examples, *read_toml(folder / TRAINING))
    assert (repeated.model, repeated.training) == (job.model, job.training)
    assert load_model(folder / WEIGHTS).config == job.model
    with pytest.raises(OutputExistsError, match="--overwrite"):
        check_free(folder, resume=False, overwrite=False)
    check_free(folder, resume=False, overwrite=True)


def test_an_interrupted_training_is_not_lost_by_mistake(job: Job, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(job, tmp_path, report=stop_at(5))
    with pytest.raises(OutputExistsError, match="--resume"):
        check_free(tmp_path, resume=False, overwrite=False)
