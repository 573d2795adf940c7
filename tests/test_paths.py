"""Paths of the use cases may be text."""

from __future__ import annotations

from pathlib import Path

from emrdiff_cli.conversion.convert import ConversionOptions, convert
from emrdiff_cli.evaluation.full_reference import evaluate
from emrdiff_cli.evaluation.no_reference import check_consistency
from emrdiff_cli.evaluation.reduced_resolution import wald_test
from emrdiff_cli.fusion.fusing import FusionOptions, fuse
from emrdiff_cli.fusion.fusion_plan import plan
from emrdiff_cli.pair.check import check
from emrdiff_cli.raster.reading import read_info
from emrdiff_cli.report.inspection import inspect
from emrdiff_cli.report.quicklook import quicklook
from emrdiff_cli.simulation import simulate_raster
from emrdiff_cli.tiles.tiles import cut, stitch
from tests.support.pairs import write_pair
from tests.support.scenes import textured, write_cube, write_srf


def unheard(_done: float, _total: float, _note: str) -> None:
    pass


def test_a_fusion_s_may(tmp_path: Path) -> None:
    lr, msi = map(str, write_pair(tmp_path))
    output = str(tmp_path / "out.bsq")
    planned = plan(lr, msi, output, None, "glp", FusionOptions())
    report = fuse(lr, msi, output, "glp", None, FusionOptions())
    assert (planned.output, report.output) == (output, output)
    assert read_info(Path(output)).driver == "ENVI"


def test_those_of_a_look_and_of_scores_may(tmp_path: Path) -> None:
    lr, msi = map(str, write_pair(tmp_path, 96, 96))
    output = str(tmp_path / "out.tif")
    fuse(lr, msi, output, "glp", None, FusionOptions())
    assert check(lr, msi).usable
    assert evaluate(output, output, baseline=lr).fused == Path(output)
    assert check_consistency(output, lr, msi).lr_hsi == Path(lr)
    assert wald_test(lr, msi, "glp", None).evaluation.reference == Path(lr)
    assert inspect(lr).bands == read_info(Path(lr)).bands.count
    assert quicklook(output, str(tmp_path / "out.png")).output == str(tmp_path / "out.png")


def test_those_of_files_made_of_files_may(tmp_path: Path) -> None:
    cube = str(write_cube(tmp_path / "hr.tif", textured(8, 64, 64)))
    srf = str(write_srf(tmp_path / "srf.csv"))
    assert simulate_raster(cube, str(tmp_path / "pair"), 4, srf).lr_hsi == "lr_hsi.tif"
    assert convert(cube, str(tmp_path / "copy.bsq"), ConversionOptions()).output == str(tmp_path / "copy.bsq")
    folder = str(tmp_path / "tiles")
    index = cut([cube], folder, size=32, overlap=8, overwrite=False, report=unheard)
    stitch(folder, str(tmp_path / "whole.tif"), index=str(index), report=unheard)
    assert read_info(tmp_path / "whole.tif").grid == read_info(Path(cube)).grid
