"""The report in a browser: nothing overflows, nothing leaves the file, the numbers are right."""

import html
import json
import re
import shutil
import subprocess

import pytest

from tests.evaluation.made_up import outcome
from unf_lopt.evaluation import report, tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NADAMW = {0.1: 0.01, 0.3: 0.03, 1.0: 0.01}
# The page in a frame of a given width, which Chromium's own window cannot have below 500 pixels;
# its script reads a value by the keyboard before it is measured.
FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" style="border:0;width:{width}px;height:900px"></iframe><pre id="found"></pre>
<script>
const frame = document.getElementById("page");
frame.onload = () => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  for (const own of page.querySelectorAll("details")) own.open = true;
  const scrolled = (own) => own.closest(".scroll, pre");
  const wide = [...page.querySelectorAll("main *")].filter(
    (own) => !scrolled(own) && !own.closest("svg, .hidden") &&
      own.getBoundingClientRect().right > page.documentElement.clientWidth + 0.5);
  const figure = page.querySelector("figure[data-readable]");
  const svg = figure.querySelector("svg");
  for (const key of ["Home", "ArrowRight"])
    svg.dispatchEvent(new view.KeyboardEvent("keydown", {{ key, bubbles: true }}));
  document.getElementById("found").textContent = JSON.stringify({{
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    wide: wide.map((own) => own.outerHTML.slice(0, 80)),
    requests: view.performance.getEntriesByType("resource").map((own) => own.name),
    reading: figure.querySelector(".reading").textContent,
    values: [...figure.querySelectorAll(".value")].map((own) => own.textContent),
    rows: [...page.querySelector("table").querySelectorAll("tbody tr")].map(
      (row) => [...row.children].map((cell) => cell.textContent)),
    unnamed: [...page.querySelectorAll("svg, .scroll")].filter(
      (own) => !own.getAttribute("aria-label")).length,
  }});
}};
frame.srcdoc = {source};
</script>"""


@pytest.fixture(scope="module", params=["one task", "several tasks"])
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    falls = (0.05,) if request.param == "one task" else (0.05, 0.01, 0.03)
    names = ("unf", "a_learned_optimizer_with_a_long_name")
    task = "TransformerLM_docsbytes_Patch8_2layer_32width"
    report.write(outcome(*falls, task=task, names=names, nadamw=NADAMW), folder)
    return folder


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(written, width, tmp_path):
    source = json.dumps((written / "report.html").read_text()).replace("</", "<\\/")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width, source=source))
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000"),
        *("--window-size=1400,1000", f"file://{tmp_path / 'frame.html'}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (text,) = re.findall(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    found = json.loads(html.unescape(text))
    assert (found["overflow"], found["wide"]) == (0, [])
    assert found["requests"] == []
    assert found["unnamed"] == 0
    summary = json.loads((written / "results.json").read_text())
    assert found["rows"] == [list(row) for row in tables.at_a_glance(summary).rows]
    assert re.search(r" (10|0\.\d+)$", found["reading"])
    assert all(float(value) >= 0 for value in found["values"])


def test_the_file_forbids_every_request_and_has_no_address(written):
    text = (written / "report.html").read_text()
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href|url\()\s*=?\s*["']?\s*(?:https?:|//)""", text)
    assert "@import" not in text


def test_light_and_dark_have_every_colour():
    css = (report.__file__.rpartition("/")[0]) + "/assets/report.css"
    with open(css, encoding="utf-8") as file:
        light, dark = re.findall(r":root \{(.+?)\}", file.read(), re.DOTALL)
    names = [set(re.findall(r"(--\w+(?:-\w+)*):", block)) for block in (light, dark)]
    assert names[0] == names[1]
