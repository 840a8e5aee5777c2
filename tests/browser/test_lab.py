"""The laboratory in headless Chromium, and under load.

CL_BINARY names the program, CL_CHROMIUM the browser (/usr/bin/chromium by default), CL_LOAD_S how long fifty clients watch a run,
CL_SCREENSHOTS a folder for screenshots.
"""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from playwright.sync_api import expect, sync_playwright

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("CL_BINARY", str(TOP / "target/release/cl-experiments"))
CHROMIUM = os.environ.get("CL_CHROMIUM", "/usr/bin/chromium")
LOAD_S = float(os.environ.get("CL_LOAD_S", "15"))
SCREENSHOTS = os.environ.get("CL_SCREENSHOTS")
WATCHERS = 50
PATIENCE_MS = 60_000


class Laboratory:
    """The program at an address of its own."""

    def __init__(self, runs, port=0):
        self.process = subprocess.Popen(
            [BINARY, "lab", "--port", str(port), "--runs", str(runs)], cwd=TOP, stdout=subprocess.PIPE, text=True
        )
        self.address = re.search(r"http://127\.0\.0\.1:\d+", self.process.stdout.readline()).group()
        self.port = int(self.address.rsplit(":", 1)[1])

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        status = self.process.wait(20)
        self.process.stdout.close()
        return status

    def children(self):
        """Processes that the server has started and that still run."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return found.stdout.split()

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    def memory_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def until(holds, what):
    """Waits for something outside the browser."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.05)


class InTheBrowser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.playwright = sync_playwright().start()
        expect.set_options(timeout=PATIENCE_MS)
        cls.browser = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.playwright.stop()

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.runs = pathlib.Path(self.folder.name) / "runs"
        self.lab = Laboratory(self.runs)
        self.context = self.browser.new_context(viewport={"width": 1280, "height": 900})
        self.context.set_default_timeout(PATIENCE_MS)
        self.complaints = []

    def tearDown(self):
        self.context.close()
        if self.lab.process.poll() is None:
            self.lab.kill()
        self.folder.cleanup()

    def page(self, path="/", expects_trouble=False):
        page = self.context.new_page()
        if not expects_trouble:
            page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
        page.on("pageerror", lambda e: self.complaints.append(str(e)))
        # Nothing is loaded from elsewhere.
        page.on("request", lambda r: r.url.startswith((self.lab.address, "blob:", "data:")) or self.complaints.append(r.url))
        page.goto(self.lab.address + path)
        return page

    def step(self, page):
        found = re.search(r"step (\d+)", page.locator("#progress").inner_text())
        return int(found.group(1)) if found else 0

    def wait_for_run(self, page, state="complete"):
        expect(page.locator("body")).to_have_attribute("data-run", state)

    def learns(self, page):
        """The run that is shown makes steps."""
        expect(page.locator("#progress")).to_contain_text(re.compile("step [1-9]"))

    def screenshot(self, page, name):
        if SCREENSHOTS:
            page.screenshot(path=f"{SCREENSHOTS}/{name}.png")

    def test_a_slider_starts_a_run_that_can_be_pinned_and_copied_and_gone_back_to(self):
        page = self.page("/?from=c3/masked&optimization.steps=600&optimization.learning_rate.exponential_decay.decay_from=300"
                         "&optimization.learning_rate.exponential_decay.decay_to=600")
        self.learns(page)
        self.wait_for_run(page)
        self.assertEqual(self.step(page), 600)
        coverage = page.locator(".legend li", has_text="coverage").first
        expect(coverage).to_contain_text(re.compile(r"0\.\d"))
        self.assertEqual(page.locator("#views canvas[role=img]").count(), 1)

        # Pinned: its curves stay, its folder is kept.
        page.click("#pin")
        expect(page.locator("#pins li")).to_contain_text("kept in")
        kept = list((self.runs / "lab").glob("masked-*/seed-201/COMPLETE"))
        self.assertEqual(len(kept), 1)

        # By keyboard.
        before = page.url
        slider = page.locator("#knob-data-sparse_coding-noise_std")
        slider.focus()
        typed = page.locator("input[name='data.sparse_coding.noise_std']")
        for key, value in [("ArrowRight", "0.25"), ("ArrowRight", "0.26"), ("ArrowLeft", "0.25"), ("ArrowRight", "0.26")]:
            page.keyboard.press(key)
            expect(typed).to_have_value(value)
            expect(page).to_have_url(re.compile(f"noise_std={value}$"))
            expect(page.locator("body")).to_have_attribute("data-run", re.compile("under way|complete"))
        self.learns(page)
        expect(page.locator(".knob.changed", has=slider)).to_have_count(1)
        page.select_option("#knob-mask", "none")
        expect(page).to_have_url(re.compile("views.transform"))
        self.wait_for_run(page)
        self.assertEqual(page.locator("#views canvas[role=img]").count(), 2, "this run and the pinned one")
        self.screenshot(page, "desktop")

        # Another place and back again: the run is still there.
        settings, number = page.url, page.locator("#progress").inner_text()
        page.click("nav a[data-place=runs]")
        page.click("nav a[data-place=try]")
        self.assertEqual((page.url, page.locator("#progress").inner_text()), (settings, number))

        # A run that is pinned and then left before its end is not kept, and the page says so.
        page.fill("input[name='optimization.steps']", "1000000")
        page.press("input[name='optimization.steps']", "Enter")
        expect(page.locator("#progress")).to_contain_text(re.compile(r"step [1-9]\d* of 1000000"))
        page.click("#pin")
        expect(page.locator("#pins li").last).to_contain_text("will be kept")
        page.fill("input[name='optimization.steps']", "600")
        page.press("input[name='optimization.steps']", "Enter")
        expect(page.locator("#pins li").last).to_contain_text("not kept")
        page.locator("#pins button").last.click()

        # Back, to the settings that were pinned.
        while page.url != before:
            page.go_back()
        expect(page.locator("#knob-mask")).to_have_value("complementary_mask")
        self.wait_for_run(page)

        # The file that is copied is the run that was pinned.
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.click("#copy")
        expect(page.locator("#said")).to_contain_text("copied")
        file = page.evaluate("navigator.clipboard.readText()")
        with page.expect_download() as download:
            page.click("#save")
        self.assertEqual(pathlib.Path(download.value.path()).read_text(), file)
        mine = pathlib.Path(self.folder.name) / "experiments/mine"
        mine.mkdir(parents=True)
        (mine / "experiment.toml").write_text(file)
        swept = subprocess.run([BINARY, "sweep", str(mine), "--runs", str(self.runs)], capture_output=True, text=True, cwd=TOP)
        self.assertEqual(swept.returncode, 0, swept.stderr)
        self.assertIn("All 1 runs are complete", swept.stdout)
        command = [BINARY, "reproduce", "mine", "--experiments", str(mine.parent), "--runs", str(self.runs), "--output", str(mine / "report")]
        judged = subprocess.run(command, capture_output=True, text=True, cwd=TOP)
        self.assertEqual(judged.returncode, 1, "nothing is expected, so nothing holds")
        self.assertIn("nothing is judged", judged.stdout)
        self.assertTrue((mine / "report/report.html").is_file())
        self.assertEqual(self.complaints, [])

    def test_masks_and_none_side_by_side(self):
        page = self.page("/?from=c3/masked")
        self.learns(page)
        page.select_option("#preset", "Mask against none, side by side")
        expect(page.locator("#pins li")).to_have_count(1)
        expect(page).to_have_url(re.compile("views.transform"))
        self.wait_for_run(page, "under way")
        self.wait_for_run(page)
        self.assertEqual(page.locator("#views canvas[role=img]").count(), 2)
        energy = page.locator(".legend li", has_text="least coverage")
        self.assertLess(float(energy.inner_text().split()[-1]), 0.5, "without masks no feature is learned")
        self.screenshot(page, "side-by-side")
        self.assertEqual(self.complaints, [])

    def test_what_is_wrong_is_said_as_for_a_file(self):
        page = self.page("/?from=c3/masked", expects_trouble=True)
        self.learns(page)
        typed = page.locator("input[name='data.sparse_coding.noise_std']")
        typed.fill("-1")
        typed.press("Enter")
        expect(page.locator("#wrong")).to_contain_text("data.sparse_coding.noise_std = -1 is out of range; it has to be")
        self.wait_for_run(page, "refused")
        page.fill("#lines", "data.sparse_coding.noise_std = 0.2\noptimization.stepz = 3")
        page.locator("#lines").blur()
        expect(page.locator("#wrong")).to_contain_text("unknown field `stepz`")
        page.fill("#knob-seed", "one")
        page.press("#knob-seed", "Enter")
        expect(page.locator("#wrong")).to_contain_text("seed = one: it has to be a whole number")
        # A line that is taken away is taken back.
        page.fill("#knob-seed", "7")
        page.press("#knob-seed", "Enter")
        page.fill("#lines", "data.sparse_coding.noise_std = 0.2")
        page.locator("#lines").blur()
        self.wait_for_run(page)
        self.assertEqual(page.locator("#wrong").inner_text(), "")
        # A run that fails before it is measured shows no curves of another.
        page.fill("#lines", "objective.info_nce.temperature = 1e-38")
        page.locator("#lines").blur()
        expect(page.locator("#wrong")).to_contain_text("not finite")
        self.wait_for_run(page, "failed")
        expect(page.locator("#views .uplot")).to_have_count(0)
        self.assertEqual(self.complaints, [])

    def test_every_objective_that_is_registered_can_be_chosen(self):
        page = self.page("/?from=objectives/nt-xent-masked")
        self.learns(page)
        names = page.locator("#knob-objective option").all_inner_texts()
        self.assertGreater(len(names), 10)
        for name in ["spectral", "vicreg", "negative_cosine"]:
            page.select_option("#knob-objective", name)
            expect(page).to_have_url(re.compile(name))
            expect(page.locator("#knob-objective")).to_have_value(name)
            self.learns(page)
            self.assertEqual(page.locator("#wrong").inner_text(), "")
        self.assertEqual(self.complaints, [])

    def test_windows_share_the_cores_and_a_closed_one_ends_its_run(self):
        long = "/?from=c3/masked&optimization.steps=1000000"
        first = self.page(long)
        self.learns(first)
        at_once = min(max(len(os.sched_getaffinity(0)) - 1, 1), 4)
        pages = [self.page(long + f"&seed={seed}") for seed in range(at_once)]
        for page in pages:
            self.learns(page)
        self.wait_for_run(first, "displaced")
        expect(first.locator("#wrong")).to_contain_text("newer run in another window")
        self.assertEqual(len(self.lab.children()), at_once)
        for page in pages:
            page.close()
        until(lambda: not self.lab.children(), "no child outlives its page")
        until(lambda: len(list(self.runs.glob(".lab-*/[0-9]*"))) <= 1, "scratch folders go with their pages")
        self.assertEqual(self.complaints, [])

    def test_a_server_that_is_killed_and_started_again_is_found_again(self):
        page = self.page("/?from=c3/masked&optimization.steps=1000000", expects_trouble=True)
        self.learns(page)
        children = self.lab.children()
        self.lab.kill()
        expect(page.locator("#connection")).to_contain_text("does not answer")
        until(lambda: not any(pathlib.Path(f"/proc/{child}").exists() for child in children), "a child ends with its server")
        self.lab = Laboratory(self.runs, self.lab.port)
        expect(page.locator("#connection")).to_have_text("")
        self.learns(page)
        self.wait_for_run(page, "under way")
        self.assertEqual(self.lab.kill(signal.SIGINT), 0)
        self.assertEqual(list(self.runs.glob(".lab-*/[0-9]*")), [], "a server that is stopped leaves nothing")
        self.assertEqual(self.complaints, [])

    def test_runs_of_other_processes_are_listed_compared_and_followed(self):
        arguments = ["--runs", str(self.runs)]
        made = subprocess.run([BINARY, "sweep", "experiments/c2-linear-stage", "--point", "large-step", "--point", "small-step", *arguments], cwd=TOP, capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        page = self.page("/runs?search=c2")
        expect(page.locator("#list li")).not_to_have_count(0)
        boxes = page.locator("#list input")
        boxes.nth(0).check()
        boxes.nth(boxes.count() - 1).check()
        expect(page.locator("#settings tr.differs")).not_to_have_count(0)
        expect(page.locator("#run-views .uplot")).not_to_have_count(0)
        page.get_by_role("button", name=re.compile("Figures of")).first.click()
        expect(page.frame_locator("#figures").locator("svg").first).to_be_visible()
        with self.context.expect_page() as report:
            page.get_by_role("link", name="Report of c2").click()
        expect(report.value.locator("h1")).to_contain_text("claims and verdicts")
        self.screenshot(page, "runs")

        # A run that another process makes just now.
        copy = pathlib.Path(self.folder.name) / "long"
        copy.mkdir()
        (copy / "experiment.toml").write_text(
            f'claim = "long"\ntitle = "t"\nstatement = "s"\nseeds = [7]\nbase = "{TOP}/experiments/recipe-d32.toml"\n'
            "[points.masked]\noptimization.steps = 1000000\n"
        )
        other = subprocess.Popen([BINARY, "sweep", str(copy), *arguments], cwd=TOP, stdout=subprocess.DEVNULL)
        try:
            page.fill("#search", "long under way")
            expect(page.locator("#list li")).to_have_count(1)
            page.locator("#list input").check()
            expect(page.locator("#chosen")).to_contain_text(re.compile(r"long masked seed-7, under way, step \d"))
            step = lambda: int(re.search(r"long masked.*?step (\d+)", page.locator("#chosen").inner_text()).group(1))
            seen = step()
            until(lambda: step() > seen, "the run that is followed goes on")
        finally:
            other.terminate()
            other.wait(20)
        expect(page.locator("#chosen")).to_contain_text("long masked seed-7, stopped")
        self.assertEqual(self.complaints, [])

    def test_views_follow_their_sliders(self):
        page = self.page("/images")
        sheet = page.locator("#sheet")
        expect(sheet).to_have_attribute("src", re.compile("blob:"))
        first = sheet.get_attribute("src")
        page.locator("#t-color_jitter-hue").focus()
        page.keyboard.press("ArrowLeft")
        expect(sheet).not_to_have_attribute("src", first)
        second = sheet.get_attribute("src")
        page.get_by_label("Blur").check()
        expect(sheet).not_to_have_attribute("src", second)
        expect(page.locator("#sheet-says")).to_contain_text("gaussian blur")
        self.assertGreater(page.evaluate("document.getElementById('sheet').naturalWidth"), 300)
        self.screenshot(page, "images")
        self.assertEqual(self.complaints, [])

    def test_nothing_is_cut_off_on_a_phone_or_at_twice_the_size(self):
        for name, size in {"phone": (390, 844), "zoomed": (640, 450)}.items():
            for path in ["/?from=c3/masked&optimization.steps=600", "/runs", "/images"]:
                page = self.page(path)
                page.set_viewport_size({"width": size[0], "height": size[1]})
                if path.startswith("/?"):
                    self.wait_for_run(page)
                    self.screenshot(page, name)
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                self.assertLessEqual(wide, 0, f"{path} on {name}")
                unnamed = page.evaluate(
                    "[...document.querySelectorAll('section:not([hidden]) :is(input, select, textarea, button)')]"
                    ".filter(e => !e.labels?.length && !e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.outerHTML)"
                )
                self.assertEqual(unnamed, [], "every control has a name")
                page.close()
        self.assertEqual(self.complaints, [])


class OverHttp(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.runs = pathlib.Path(self.folder.name) / "runs"
        self.lab = Laboratory(self.runs)

    def tearDown(self):
        self.lab.kill()
        self.folder.cleanup()

    def test_other_pages_and_other_names_are_refused(self):
        own = f"127.0.0.1:{self.lab.port}"
        self.assertEqual(self.lab.request("GET", "/api/runs")[0], 200)
        for headers in [{"Host": "rebound.example"}, {"Host": f"rebound.example:{self.lab.port}"}, {"Origin": "http://rebound.example"},
                        {"Sec-Fetch-Site": "cross-site"}]:
            for path in ["/", "/api/inventory", "/api/runs", "/report?claim=c1"]:
                status, _ = self.lab.request("GET", path, headers={"Host": own, **headers})
                self.assertEqual(status, 403, (path, headers))
        body = json.dumps({"page": "p", "settings": {"claim": "c3"}})
        self.assertEqual(self.lab.request("POST", "/api/try", body, {"Content-Type": "text/plain"})[0], 403)
        self.assertEqual(self.lab.children(), [])

    def test_nothing_outside_is_read_and_nonsense_is_answered(self):
        for folder in ["../../etc", "/etc/passwd", "a/b/c", "..%2f..%2fetc"]:
            status, text = self.lab.request("GET", f"/api/run?folder={folder}")
            self.assertEqual(status, 400, text)
            self.assertIn("there is no run", text)
        for claim in ["../x", "--help", "nothing"]:
            status, text = self.lab.request("GET", f"/report?claim={claim}")
            self.assertEqual(status, 400, text)
        kind = {"Content-Type": "application/json"}
        for body in ["", "{", "[]", '{"claim": 3}', '{"claim": "c3", "set": [["a"]]}', '{"claim": "c3", "sets": []}', '{"claim": "c33"}']:
            status, text = self.lab.request("POST", "/api/check", body, kind)
            self.assertEqual(status, 400, body)
            self.assertTrue(json.loads(text)["error"])
        self.assertEqual(self.lab.request("POST", "/api/check", "x" * (1 << 20), kind)[0], 400)
        self.assertEqual(self.lab.request("GET", "/api/inventory")[0], 200)

    def test_fifty_clients_watch_a_run_in_flat_memory(self):
        copy = pathlib.Path(self.folder.name) / "long"
        copy.mkdir()
        (copy / "experiment.toml").write_text(
            f'claim = "long"\ntitle = "t"\nstatement = "s"\nseeds = [7]\nbase = "{TOP}/experiments/recipe-d32.toml"\n'
            "[points.masked]\noptimization.steps = 1000000\n"
        )
        other = subprocess.Popen([BINARY, "sweep", str(copy), "--runs", str(self.runs)], cwd=TOP, stdout=subprocess.DEVNULL)
        done = threading.Event()
        heard = [0] * WATCHERS
        failures = []
        watchers = []

        def watch(i, folder):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.lab.port, timeout=30)
                connection.request("POST", "/api/watch", json.dumps({"folders": [folder]}), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                while not done.is_set():
                    if answer.readline().startswith(b"event: snapshots"):
                        heard[i] += 1
                connection.close()
            except OSError as error:
                failures.append(error)

        try:
            until(lambda: list(self.runs.glob("long/*/seed-7/metrics.jsonl")), "the run has begun")
            [run] = self.runs.glob("long/*/seed-7")
            folder = str(run.relative_to(self.runs))
            watchers = [threading.Thread(target=watch, args=(i, folder), daemon=True) for i in range(WATCHERS)]
            for watcher in watchers:
                watcher.start()
            until(lambda: min(heard) >= 2 or failures, "every client hears of the run")
            before = self.lab.memory_mib()
            time.sleep(LOAD_S)
            after = self.lab.memory_mib()
            counts = sorted(heard)
            print(f"\n{WATCHERS} clients, {LOAD_S:.0f} s: {before:.1f} to {after:.1f} MiB, {counts[0]} to {counts[-1]} events each", flush=True)
            self.assertEqual(failures, [])
            self.assertGreater(counts[0], 2)
            self.assertLess(after - before, 8, "memory grows with what is sent")
        finally:
            done.set()
            for watcher in watchers:
                watcher.join(20)
            other.terminate()
            other.wait(20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
