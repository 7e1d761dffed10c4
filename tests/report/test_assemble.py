"""Our rows beside the published ones: their place, test set, figures and notes."""

import numpy as np
import pytest
from scipy.stats import t

from lit_pure.config.compose import ConfigError
from lit_pure.files.atomic import write_json
from lit_pure.report.assemble import assemble
from lit_pure.report.layouts import LAYOUTS, Layout
from lit_pure.report.table import Table, TableRow
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

SCORES = [20.0, 21.0, 23.0, 22.0, 20.5, 24.0, 21.5, 22.5, 20.8, 23.2, 21.7, 22.4]


def rows(table: Table) -> list[TableRow]:
    return [row for block in table.blocks for row in block]


def row(table: Table, name: str, on: str) -> dict[str, str]:
    """The figures of a row, by column."""
    (found,) = [one for one in rows(table) if set(one.head) == {name, on}]
    return {label: table.format_cell(cell) for label, cell in zip(table.columns, found.cells, strict=True)}


def marked(table: Table, label: str) -> dict[tuple[str, ...], str]:
    at = list(table.columns).index(label)
    return {one.head: one.cells[at].mark for one in rows(table) if one.cells[at].mark}


def shown(layout: str, *chosen: Run, only: str = "", intervals: bool = False) -> Table:
    return assemble(LAYOUTS[layout], chosen, only=only, intervals=intervals)


def test_our_runs_stand_below_the_published_row_they_resemble(make) -> None:
    for at, name in enumerate(("top1", "top2000", "dynamic")):
        make(f"ablations/sampling/{name}", {"demo": {"psnr": 15.0 + at, "niqe": 9.12345, "fid": float("nan")}})
    table = shown("table6")
    assert [one.head[0] for one in rows(table)] == [
        "Top-1",
        "ours: ablations/sampling/top1/version_0",
        "Top-2000",
        "ours: ablations/sampling/top2000/version_0",
        "Dynamic Top-k",
        "ours: ablations/sampling/dynamic/version_0",
    ]
    own = row(table, "ours: ablations/sampling/top1/version_0", "demo")
    assert own == dict.fromkeys(table.columns, "-") | {"PSNR": "15.00", "NIQE": "9.1235"}, "digits as in the paper"
    assert row(table, "Top-1", "DrealSR")["PSNR"] == "27.59"


def test_figures_on_other_sets_are_ranked_apart_and_a_note_says_so(make) -> None:
    for at, name in enumerate(("top1", "top2000", "dynamic")):
        make(f"ablations/sampling/{name}", {"demo": {"psnr": 50.0 + at}})
    table = shown("table6")
    assert marked(table, "PSNR") == {
        ("Top-1", "DrealSR"): "best",
        ("Dynamic Top-k", "DrealSR"): "second",
        ("ours: ablations/sampling/dynamic/version_0", "demo"): "best",
        ("ours: ablations/sampling/top2000/version_0", "demo"): "second",
    }
    assert any("different test sets do not compare" in note for note in table.notes)


def test_figures_on_the_paper_s_set_are_ranked_with_the_paper_s(make) -> None:
    make("ablations/sampling/top1", {"dreal_sr": {"psnr": 26.0}})
    table = shown("table6")
    assert marked(table, "PSNR") == {
        ("Top-1", "DrealSR"): "best",
        ("ours: ablations/sampling/top1/version_0", "dreal_sr"): "second",
    }
    assert not any("do not compare" in note for note in table.notes)


def test_a_missing_run_is_named_with_the_command_that_makes_it(make) -> None:
    make("ablations/guidance/none", {"demo": {"psnr": 20.0}})
    notes = shown("table5").notes
    missing = (
        "Full Guidance: no finished run of ablations/guidance/full; make it with: make exp NAME=ablations/guidance/full"
    )
    assert missing in notes and not any(note.startswith("No Guidance") for note in notes)
    assert not any("no finished run" in note for note in shown("table5", runs.require("ablations/guidance/none")).notes)
    official = "PURE: no finished run of pure/official; make it with: lit-pure weights pure/official"
    assert official in shown("table2").notes


def test_the_newest_finished_run_is_taken_unless_one_is_named(make) -> None:
    old = make("ablations/sampling/top1", {"demo": {"psnr": 20.0}})
    make("ablations/sampling/top1", {"demo": {"psnr": 21.0}}, version=1)
    unfinished = runs.ROOT / "ablations/sampling/top1/version_2"
    unfinished.mkdir()
    assert row(shown("table6"), "ours: ablations/sampling/top1/version_1", "demo")["PSNR"] == "21.00"
    assert row(shown("table6", old), "ours: ablations/sampling/top1/version_0", "demo")["PSNR"] == "20.00"


def test_a_run_that_resembles_no_published_row_comes_last(make) -> None:
    run = make("sweeps/sampling/k_max=10", {"demo": {"psnr": 20.0}})
    table = shown("table6", run)
    assert [one.head for one in table.blocks[-1]] == [("ours: sweeps/sampling/k_max=10/version_0", "demo")]
    tokenizer = make("tokenizer/mine", {"demo": {"psnr": 20.0}}, family="tokenizer")
    assert rows(shown("table1", tokenizer))[-1].head == ("ours: tokenizer/mine/version_0",)


def test_our_figures_join_the_block_of_the_paper_s_set_or_get_their_own(make) -> None:
    make("pure/nano", {"RealSR": {"psnr": 30.0}, "demo": {"psnr": 20.0}, "reallq250": {"niqe": 4.0}})
    table = shown("table2")
    assert [block[0].head[0] for block in table.blocks] == ["OST-Val", "RealSR", "DrealSR", "demo"]
    assert [one.head[1] for one in table.blocks[1]][-2:] == ["PURE", "ours: pure/nano/version_0"]
    assert marked(table, "PSNR")["RealSR", "ours: pure/nano/version_0"] == "best"
    third = shown("table3")
    assert [block[0].head[0] for block in third.blocks] == ["RealLQ250", "demo"], "RealSR is table 2's"
    assert marked(third, "NIQE")["reallq250", "ours: pure/nano/version_0"] == "best"


def test_a_report_can_be_limited_to_one_test_set(make) -> None:
    run = make("pure/nano", {"RealSR": {"psnr": 30.0}, "demo": {"psnr": 20.0}})
    assert [block[0].head[0] for block in shown("table2", only="realsr").blocks] == ["RealSR"]
    assert [one.head[0] for one in rows(shown("table2", only="demo"))].count("demo") == 1
    there = shown("table2", run, only="ost_val")
    assert {one.head[0] for one in rows(there)} == {"OST-Val"}
    assert "pure/nano/version_0 has no figures on ost_val." in there.notes
    with pytest.raises(ConfigError, match="--test-set tset: neither .* there are DrealSR, OST-Val, RealSR, demo"):
        shown("table2", run, only="tset")


def test_table_1_has_a_column_per_test_set(make) -> None:
    make("tokenizer/nano", {"demo": {"psnr": SCORES}, "realsr": {"psnr": 22.0}}, family="tokenizer")
    table = shown("table1", intervals=True)
    assert list(table.columns) == ["OST-Val", "RealSR", "DrealSR", "demo"]
    vae, vqgan, ours, low, high, count = rows(table)
    assert [table.format_cell(cell) for cell in vqgan.cells] == ["24.29 (-0.71)", "23.53 (-0.90)", "33.59 (-2.62)", "-"]
    assert [table.format_cell(cell) for cell in ours.cells] == ["-", "22.00", "-", f"{np.mean(SCORES):.2f}"]
    assert [cell.text for cell in low.cells][:3] == ["-"] * 3 and low.cells[3].text < high.cells[3].text
    assert [cell.text for cell in count.cells] == ["-", "-", "-", "12"]
    assert vae.cells[1].mark == "best" and ours.cells[1].mark == "" and ours.cells[3].mark == ""


def test_table_4_has_a_column_per_method(make) -> None:
    run = make("demo", {"demo": {"psnr": 20.0}})
    assert any(
        "demo/version_0 was not timed; time it with: lit-pure bench restore --run demo" in note
        for note in shown("table4").notes
    )
    cost = {"seconds_per_image": 1.23456, "parameters": {"total": 6_251_576}, "size": 128, "device": "2 CPU threads"}
    write_json(run.folder / "complexity.json", cost)
    table = shown("table4")
    assert list(table.columns) == ["StableSR", "DiffBIR", "SeeSR", "PASD", "OSEDiff", "PURE", "ours: demo/version_0"]
    found = {one.head[0]: [cell.text for cell in one.cells][-2:] for one in rows(table)}
    assert found == {
        "Measured on": ["512 px, A100", "128 px, 2 CPU threads"],
        "Inference Time (s)": ["256.87", "1.23"],
        "Total Param (M)": ["7080", "6.25"],
    }
    assert "2 CPU threads" in {one.head[0].removeprefix("128 px, ") for one in rows(shown("nsarm-time"))}
    assert any(
        note == "demo/version_0 was timed with engine and dtype not recorded; otherwise the run's settings."
        for note in table.notes
    )
    words = {"settings": ["sampling.engine=jacobi", "sampling.k_max=1"]}
    write_json(run.folder / "complexity.json", cost | {"engine": "jacobi", "dtype": "bfloat16"} | words)
    for layout in ("table4", "nsarm-time"):
        assert (
            "demo/version_0 was timed with engine jacobi, dtype bfloat16; "
            "changed settings: sampling.engine=jacobi sampling.k_max=1."
        ) in shown(layout).notes
    (run.folder / "complexity.json").write_text('{"size": 128}')
    with pytest.raises(ValueError, match="complexity.json cannot be read .*bench restore --run demo/version_0"):
        shown("table4")


def test_intervals_are_those_of_the_run_s_own_pictures(make) -> None:
    make("ablations/sampling/top1", {"demo": {"psnr": SCORES, "fid": 100.0}})
    table = shown("table6", intervals=True)
    below = row(table, "  95 % from", "demo"), row(table, "  95 % to", "demo")
    error = np.std(SCORES, ddof=1) / np.sqrt(len(SCORES))
    students = t.interval(0.95, len(SCORES) - 1, loc=np.mean(SCORES), scale=error)  # even scores: much the same
    assert [float(one["PSNR"]) for one in below] == pytest.approx(students, abs=0.3 * error)
    assert row(table, "  n", "demo")["PSNR"] == "12" and row(table, "  n", "demo")["FID"] == "-"
    assert float(below[0]["PSNR"]) < np.mean(SCORES) < float(below[1]["PSNR"]) < 99, (
        "bicubic's 99 dB are not among them"
    )
    assert {one["FID"] for one in below} == {"-"}
    assert not any(one.cells[0].mark for one in rows(table) if one.head[0].startswith("  95"))
    assert any("bootstrap" in note for note in table.notes)


def test_intervals_keep_to_the_range_of_their_metric(make) -> None:
    """SSIM of 8 pictures with one far off: unbounded, the interval of the mean would go beyond 0 and 1."""
    make("demo", {"RealSR": {"ssim": [0.99, 0.98, 0.99, 0.5, 0.97, 0.98, 0.99, 0.96]}})
    table = shown("table2", intervals=True)
    low, high = (float(row(table, "RealSR", name)["SSIM"]) for name in ("  95 % from", "  95 % to"))
    assert (low, high) == (0, 1)


def test_few_pictures_have_no_interval_and_a_note_says_so(make) -> None:
    make("demo", {"RealSR": {"ssim": [0.6, 0.7, 0.8, 0.5]}})
    table = shown("table2", intervals=True)
    assert not any("95 %" in one.head[1] for one in rows(table)) and row(table, "RealSR", "  n")["SSIM"] == "4"
    assert any("fewer than 8 pictures (n) have none" in note for note in table.notes)


def test_pictures_of_another_size_do_not_compare_with_the_paper_s(make) -> None:
    scores = [30.0, 31.0]
    small = make("demo", {"RealSR": {"psnr": scores}}, side=96)
    make("pure/nano", {"RealSR": {"psnr": 29.0}})
    table = shown("table2")
    assert [block[0].head[0] for block in table.blocks] == ["OST-Val", "RealSR", "DrealSR", "RealSR at 96 px"]
    assert marked(table, "PSNR")["RealSR", "ours: pure/nano/version_0"] == "best"
    assert ("RealSR at 96 px", "ours: demo/version_0") not in marked(table, "PSNR")
    told = (
        "demo/version_0 on RealSR: at 96 px, n = 2 (the paper's are at 512 px); not ranked with figures at other sizes."
    )
    assert told in table.notes and not any(note.startswith("pure/nano/version_0 on") for note in table.notes)
    assert told in shown("table2", only="realsr").notes, "the set is found by its name all the same"
    assert [block[0].head[0] for block in shown("table3").blocks] == ["RealLQ250"], "RealSR is table 2's at any size"
    (small.folder / "config.yaml").unlink()
    assert any("at a size that its config.yaml does not state" in note for note in shown("table2").notes)


def test_pictures_of_different_sizes_are_kept_apart_in_rows_and_columns_too(make) -> None:
    make("ablations/sampling/top1", {"DrealSR": {"psnr": 50.0}, "demo": {"psnr": 9.0}}, side=96)
    make("ablations/sampling/dynamic", {"demo": {"psnr": 8.0}}, side=128)
    table = shown("table6")
    assert row(table, "ours: ablations/sampling/top1/version_0", "DrealSR at 96 px")["PSNR"] == "50.00"
    assert row(table, "ours: ablations/sampling/dynamic/version_0", "demo at 128 px")["PSNR"] == "8.00"
    assert marked(table, "PSNR") == {("Top-1", "DrealSR"): "best", ("Dynamic Top-k", "DrealSR"): "second"}
    make("tokenizer/nano", {"realsr": {"psnr": 40.0}}, family="tokenizer", side=96)
    first = shown("table1")
    assert list(first.columns) == ["OST-Val", "RealSR", "DrealSR", "realsr at 96 px"]
    assert [cell.text for cell in rows(first)[-1].cells] == ["-", "-", "-", "40.00"]


def test_nsarm_judges_sets_at_sizes_of_their_own(make) -> None:
    make("pure/nano", {"DIV2K": {"psnr": 22.0}, "RealSR": {"psnr": 22.0}, "RP60": {"niqe": 4.0}})
    assert {one.head[0] for one in rows(shown("nsarm-results")) if one.head[1].startswith("ours")} == {
        "DIV2K at 512 px",
        "RealSR",
        "RP60 at 512 px",  # nobody tells NSARM's
    }


def test_a_run_without_scores_of_pictures_has_no_intervals(make) -> None:
    make("ablations/sampling/top1", {"demo": {"psnr": 20.0}})
    table = shown("table6", intervals=True)
    assert not any("95 %" in one.head[0] for one in rows(table))
    assert any("top1/version_0 has no intervals" in note for note in table.notes)


def test_nsarm_s_second_figure_is_the_variance_over_pictures(make) -> None:
    make("demo", {"demo": {"psnr": SCORES, "maniqa-pipal": [0.1, 0.3] + [0.2] * 10}})
    table = shown("nsarm-results")
    own = row(table, "ours: demo/version_0", "demo")
    assert own["MANIQA"] == "0.2000/0.0017", "the PIPAL one, as OSEDiff has it"
    assert own["PSNR"] == f"{np.mean(SCORES):.2f}", "NSARM tells no variance of PSNR"


def test_columns_are_filled_by_the_protocol_s_metric_and_no_other(make) -> None:
    make("demo", {"demo": {"musiq": 60.0, "musiq-spaq": 61.0, "maniqa": 0.1, "maniqa-pipal": 0.2}})
    own = row(shown("table2"), "ours: demo/version_0", "demo")
    theirs = row(shown("nsarm-results"), "ours: demo/version_0", "demo")
    assert (own["MUSIQ"], own["MANIQA"]) == ("61.00", "0.1000") and (theirs["MUSIQ"], theirs["MANIQA"]) == (
        "60.00",
        "0.2000",
    )
    (recipe,) = [note for note in shown("table2").notes if "protocol" in note and "MUSIQ is" in note]
    assert "MUSIQ is musiq-spaq" in recipe and "PSNR on Y" in recipe and "pyiqa 0.1.16" in recipe
    assert any("TOPIQ: not measured" in note and "evaluation.protocol=pure" in note for note in shown("table2").notes)


def test_a_note_says_by_which_protocol_a_run_was_measured(make) -> None:
    make("demo", {"demo": {"psnr": 20.0}}, measured={"protocol": "pure"})
    (note,) = [note for note in shown("table2").notes if note.startswith("Ours are measured")]
    assert note.startswith("Ours are measured by protocol pure, whole pictures: PSNR on Y, ")
    make("pure/nano", {"demo": {"psnr": 20.0}}, measured={"protocol": "", "border": 4})
    make("pure/paper", {"demo": {"psnr": 20.0}}, measured={"protocol": "gone"})
    (note,) = [note for note in shown("table2").notes if note.startswith("Ours are measured")]
    assert "by protocol pure, whole pictures (demo/version_0)" in note
    assert "without a protocol, keys as in pure, 4 px cut off each side (pure/nano/version_0)" in note
    assert "by protocol gone, keys as in pure, border not recorded (pure/paper/version_0)" in note
    (note,) = [note for note in shown("nsarm-results").notes if note.startswith("Ours are measured")]
    assert "by protocol pure, keys as in osediff, whole pictures (demo/version_0)" in note


def test_our_runs_on_different_bases_are_named_apart(make) -> None:
    make("ablations/sampling/top1", {"demo": {"psnr": 20.0}}, base="demo")
    assert not any("bases" in note for note in shown("table6").notes)
    make("ablations/sampling/dynamic", {"demo": {"psnr": 20.0}}, base="pure/nano")
    assert any("their bases are demo, pure/nano" in note for note in shown("table6").notes)


def test_a_run_of_another_family_is_refused(make) -> None:
    pure, tokenizer = make("demo", {}), make("tokenizer/nano", {}, family="tokenizer")
    with pytest.raises(ConfigError, match="family tokenizer; table5 shows runs of family pure"):
        shown("table5", tokenizer)
    with pytest.raises(ConfigError, match="family pure; table1 shows runs of family tokenizer"):
        shown("table1", pure)
    with pytest.raises(ConfigError, match="figure5 shows none of our runs"):
        shown("figure5", pure)


def test_a_run_that_was_never_tested_is_named_with_the_way_to_test_it(make) -> None:
    make("pure/official", {})
    notes = shown("table2").notes
    assert any(
        "pure/official/version_0 has no test figures" in note and 'base=pure/official"' in note for note in notes
    )


def test_a_damaged_file_of_scores_is_named(make) -> None:
    run = make("ablations/sampling/top1", {"demo": {"psnr": SCORES}})
    (run.folder / "scores.csv").write_text("no,such,columns\n")
    assert row(shown("table6"), "ours: ablations/sampling/top1/version_0", "demo")["PSNR"], "nobody asked for it"
    with pytest.raises(ValueError, match="version_0/scores.csv cannot be read"):
        shown("table6", intervals=True)


@pytest.mark.usefixtures("make")
@pytest.mark.parametrize(("name", "layout"), LAYOUTS.items())
def test_every_layout_fits_its_paper_and_its_experiments(name: str, layout: Layout) -> None:
    from lit_pure.config.compose import experiment_names

    table = assemble(layout, [])
    assert "arXiv 2" in table.title
    printed = {head for one in rows(table) for head in one.head} | set(table.columns)
    assert set(layout.fills) <= printed, "rows that ours stand below are the paper's"
    assert {name for names in layout.fills.values() for name in names} <= set(experiment_names())
    figures = [cell.text for one in rows(table) for cell in one.cells if cell.text != "-"]
    assert figures, name
