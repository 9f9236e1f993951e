from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_runs import full_run, metrics_line, minimal_run, write_clients, write_lines
from typer.testing import CliRunner

from app.cli import main
from app.report import write_report
from models.errors import RunDirectoryError

ALWAYS = {"learning.png", "clients.png", "labels.png", "communication.png"}


class Page(HTMLParser):
    """Tags, attributes and visible text of a page, and whether every tag was closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text("utf-8"))
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            v or "" for k, v in attrs if k in ("src", "href", "srcset", "data", "action")
        ]
        assert not [k for k, _ in attrs if k.startswith("on")]
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return "|".join(self.words)


def assert_pictures(run: Path, expected: set[str]) -> None:
    found = {path.name for path in (run / "plots").iterdir()}
    assert found == expected
    for path in (run / "plots").iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert picture.width >= 1000
            assert np.asarray(picture.convert("L")).std() > 1.0


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = full_run(tmp_path_factory.mktemp("runs") / "spring")
    assert write_report(run) == run / "report.html"
    return run


def test_page_states_the_runs_numbers(full: Path) -> None:
    text = Page(full / "report.html").text
    along = 1 - np.exp(-4)
    assert text.startswith("spring · Bouquet|spring|")
    assert f"Server accuracy|{100 * (0.83 + 0.075 * along):.1f} %|+7.4 pp| over base" in text
    assert "Over all data pooled|−3.6 pp|server, which reached 94.0 %" in text
    assert "Over each client alone|+2.9 pp|client mean, which reached 81.0 %" in text
    assert "Bytes moved|14.1 MB|7.07 MB up, 7.07 MB down" in text
    assert "Time|1 min 02 s|10 rounds, 6.2 s each" in text
    assert "Clients|20|none refused" in text
    assert "No reply was refused." in text
    assert (
        "fedavg, fine-tuning tiny-vit through lora for 10 rounds. All clients were asked each "
        "round. Each client trained 1 local epoch with adamw, learning rate 0.01, batches of 16."
    ) in text
    assert "digits, split over 20 clients with Dirichlet-skewed labels (alpha=0.3)." in text
    assert "All 18 settings, as resolved" in text
    assert "learning-rate|0.01|" in text
    assert text.count("|client-00") == 20


def test_pictures_are_the_same_in_the_page_and_beside_it(full: Path) -> None:
    assert_pictures(full, ALWAYS)
    page = Page(full / "report.html")
    embedded = [base64.b64decode(link.split(",", 1)[1]) for link in page.links]
    names = ("learning", "clients", "labels", "communication")
    assert embedded == [(full / "plots" / f"{name}.png").read_bytes() for name in names]
    assert Image.open(BytesIO(embedded[0])).format == "PNG"


def test_page_loads_nothing_and_runs_nothing(full: Path) -> None:
    page = Page(full / "report.html")
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    markup = re.sub(r"data:image/png;base64,[\w+/=]+", "", (full / "report.html").read_text())
    assert "http:" not in markup
    assert "https:" not in markup
    assert "url(" not in markup
    assert "default-src 'none'" in markup


def test_nothing_half_written_stays_behind(full: Path) -> None:
    assert not [path for path in full.rglob("*") if ".tmp" in path.name]


def test_minimal_run(tmp_path: Path) -> None:
    run = minimal_run(tmp_path / "small")
    page = Page(write_report(run))
    assert_pictures(run, ALWAYS)
    assert "Mean client|62.5 %|+12.5 pp| over base" in page.text
    assert "Worst client|25.0 %|–" in page.text
    assert "Server accuracy" not in page.text
    assert "The server had no test set" in page.text
    assert "Bytes moved|5 kB|2 kB up, 3 kB down" in page.text
    assert "Clients|2|none refused" in page.text


def test_only_a_configuration_yet(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('strategy = "fedavg"\nrun-name = "early"\n')
    (tmp_path / "status.json").write_text(
        json.dumps({"state": "failed", "code": 5, "message": "2 of 20 <clients> answered"})
    )
    page = Page(write_report(tmp_path))
    assert_pictures(tmp_path, ALWAYS)
    assert "This run failed.| 2 of 20 <clients> answered" in page.text


def test_many_clients_groups_and_refusals(tmp_path: Path) -> None:
    run = full_run(tmp_path / "many", clients=500, rounds=70, labels=150, trouble=True)
    page = Page(write_report(run))
    assert_pictures(run, ALWAYS | {"groups.png", "replies.png"})
    assert "details" in page.tags
    assert "All 500 clients" in page.text
    assert page.text.count("|client-0") >= 500


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    evil = '<script>alert("1")</script> & <img src=x onerror=y> $\\frac{$ \x1b[31m\u202e\ud800'
    refused = [{"client": evil, "round": 1, "code": "<b>", "detail": evil}]
    groups = {evil: {evil: {"accuracy": 0.5, "examples": 3}}}
    line = metrics_line(
        1, accuracy=0.5, rejected=refused, groups=groups, clients_asked=2, clients_answered=1
    )
    write_lines(run / "metrics.jsonl", [line])
    name = evil.replace("\ud800", "").replace("\x1b", "")
    row = {"client": name, "node": name, "concept": name, "accuracy_before": 0.1}
    write_clients(run / "clients.csv", [row | {"accuracy_after": 0.2}])
    (run / "labels.json").write_text(json.dumps({"labels": [evil], "clients": {evil: {evil: 3}}}))
    (run / "status.json").write_text(json.dumps({"state": "failed", "message": evil}))
    baseline = run / "baselines" / "<i>local"
    baseline.mkdir(parents=True)
    write_lines(baseline / "metrics.jsonl", [metrics_line(1, accuracy=0.4)])
    page = Page(write_report(run))
    assert not {"script", "b", "i"} & set(page.tags)
    assert page.tags.count("img") == len(list((run / "plots").iterdir())) == 6
    assert '<script>alert("1")</script> & <img src=x onerror=y>' in page.text
    assert "\ufffd[31m\ufffd\ufffd" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page.text)


def test_a_flood_of_refusals_is_counted_but_not_all_listed(tmp_path: Path) -> None:
    run = minimal_run(tmp_path / "run")
    refused = [{"client": f"c{i}", "code": "late", "detail": "x" * 1000} for i in range(501)]
    write_lines(run / "metrics.jsonl", [metrics_line(1, accuracy=0.5, rejected=refused)])
    text = Page(write_report(run)).text
    assert "late: 501" in text
    assert "The first 500 of 501" in text
    assert "|c499|" in text
    assert "|c500|" not in text
    assert "x" * 399 + "…" in text
    assert "x" * 400 not in text


def test_remarks_about_replies_that_count_stand_beside_the_refused(tmp_path: Path) -> None:
    run = minimal_run(tmp_path / "run")
    remarks = [
        {"client": "north", "round": 1, "code": "weight", "detail": "cut <to> 12"},
        {"client": "south", "round": 1, "code": "metric", "detail": "dropped: 'f1' (NaN)"},
        {"client": "south", "round": 1, "code": "norm", "detail": "above 100 times; clipped"},
    ]
    refused = [{"client": "west", "round": 1, "code": "shape", "detail": "expected (4, 8)"}]
    first = metrics_line(1, accuracy=0.5, remarks=remarks, rejected=refused)
    second = metrics_line(2, accuracy=0.6, remarks=[{**remarks[2], "round": 2}, "x", {}])
    write_lines(run / "metrics.jsonl", [first, second])
    text = Page(write_report(run)).text
    after = text[text.index("Refused replies") :]
    assert "shape: 1|Client|Reason|Detail|Round|west|shape|expected (4, 8)|1" in after
    assert "Remarks about accepted replies|These count; something in them was cut" in after
    assert "norm: 2, weight: 1, metric: 1, unknown: 1|Client|About|Detail|Round|" in after
    assert "|north|weight|cut <to> 12|1|south|metric|dropped: 'f1' (NaN)|1|south|norm|" in after
    assert "|1 refusal|" in text  # a remark is none


def test_a_run_without_remarks_does_not_mention_them(full: Path) -> None:
    assert "Remarks" not in Page(full / "report.html").text


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    run = minimal_run(tmp_path / "run")
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"is no run directory: neither metrics\.jsonl nor"):
        write_report(tmp_path)


def test_a_folder_that_is_no_run_keeps_no_other_from_being_drawn(tmp_path: Path) -> None:
    minimal_run(tmp_path / "a")
    minimal_run(tmp_path / "b")
    names = [str(tmp_path / name) for name in ("a", "none", "b")]
    done = CliRunner().invoke(main, ["report", *names])
    assert done.exit_code == RunDirectoryError.code
    assert f"{tmp_path}/none is no run directory" in done.output
    assert all((tmp_path / name / "report.html").is_file() for name in ("a", "b"))
