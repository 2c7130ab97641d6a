"""What the script of the report does, in a browser; skipped where there is no Chromium."""

import json
import re
import shutil
import subprocess

import pytest
from recorded import judged

from gensweep.report.html import render
from gensweep.tracking.runs import load_sweeps

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--dump-dom",
]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

#: Clicks and types as a reader would, and leaves what is then shown as JSON.
READER = """
const table = document.querySelector("table.sortable"), heads = table.tHead.rows[0].cells, found = {};
const shown = () => [...table.tBodies].filter(each => !each.hidden && !each.classList.contains("later"));
const column = number => shown().map(each => each.rows[0].cells[number].textContent.trim());
const press = number => heads[number].querySelector("button").click();
found.first = column(0).map(Number);
press(3); found.ascending = column(3).map(parseFloat);
press(3); found.descending = column(3).map(parseFloat); found.sort = heads[3].getAttribute("aria-sort");
const filter = document.querySelector(".tools input");
filter.value = "GAN width=32"; filter.dispatchEvent(new Event("input"));
found.filtered = column(2); found.settings = shown().map(each => each.rows[1].textContent);
found.status = document.querySelector("[role=status]").textContent;
const mark = document.querySelector("svg.broad [data-tip]");
mark.dispatchEvent(new PointerEvent("pointermove", { bubbles: true }));
found.tip = document.querySelector(".tip").textContent; found.label = mark.getAttribute("aria-label");
document.body.innerHTML = "<pre></pre>"; document.querySelector("pre").textContent = JSON.stringify(found);
"""


def dom(page, folder):
    """The page as it is after its scripts have run."""
    (folder / "page.html").write_text(page)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", (folder / "page.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def page(store):
    return render(*judged(load_sweeps()))


@pytest.fixture(scope="module")
def read(page, tmp_path_factory):
    """What a reader found on a page that lets him run a script of his own."""
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", page)
    with_reader = open_page.replace("</body>", f"<script>{READER}</script></body>")
    return json.loads(re.search(r"<pre>(.*?)</pre>", dom(with_reader, tmp_path_factory.mktemp("reader")), re.S)[1])


def test_the_policy_of_the_page_lets_its_own_script_run(page, tmp_path):
    assert 'class="tools"' in dom(page, tmp_path)


def test_heads_sort_by_number_and_say_so(read):
    assert read["first"] == sorted(read["first"])
    assert read["ascending"] == sorted(read["ascending"])
    assert read["descending"] == read["ascending"][::-1]
    assert read["sort"] == "descending"


def test_the_filter_keeps_what_has_all_words_in_any_case(read):
    assert read["filtered"]
    assert set(read["filtered"]) == {"GAN"}
    assert all("width=32" in settings for settings in read["settings"])
    assert read["status"].startswith(f"{len(read['filtered'])} of ")


def test_a_mark_under_the_pointer_says_its_values(read):
    assert read["tip"] == read["label"] != ""
