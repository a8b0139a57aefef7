"""The page in headless Chromium: pictures in, every kind of widget, pictures out, and no other host in between."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from easel import install_easel
from PIL import Image
from test_survey_browser import chromium

pytest.importorskip("gradio")
pytestmark = pytest.mark.slow
__all__ = ["chromium"]
Visit = Callable[..., Any]
SOON = 60_000  # milliseconds: other tests share the cores
LOGIN, FORM = b"username=anna&password=secret", {"Content_Type": "application/x-www-form-urlencoded"}


@dataclass
class Served:
    address: str
    process: subprocess.Popen[str]
    temporary: Path
    said: Path
    known: str = ""  # the cookie of who has logged in


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``zoo page`` as a user starts it, with one plugin and one visitor, in a temporary folder of its own."""
    place = tmp_path_factory.mktemp("page")
    temporary = place / "tmp"
    temporary.mkdir()
    install_easel(place / "site")
    (place / "visitors").write_text("anna:secret\n")
    path = os.pathsep.join([str(place / "site"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(temporary), "ZOO_PLUGINS": "zoo-easel"}
    options = ["--port", "0", "--megapixels", "3", "--megabytes", "1", "--auth", str(place / "visitors")]
    with (place / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "zoo", "page", *options],
            env=environment, stdout=subprocess.PIPE, stderr=said, text=True,
        )  # fmt: skip
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            assert address, (place / "said").read_text()
            cookies = ask(f"{address}/login", LOGIN, **FORM)[2].get_all("set-cookie")
            known = "; ".join(cookie.partition(";")[0] for cookie in cookies)
            yield Served(address, process, temporary, place / "said", known)
        finally:
            process.kill()
            process.wait()


SETTLED = """() => {
    const loaded = performance.getEntriesByType("resource").length, before = window.loadedBefore
    window.loadedBefore = loaded
    return loaded === before
}"""
"""Nothing more was loaded since it was asked before: what is shown listens only then."""

FORBIDDEN = "the server responded with a status of 403"
"""What the browser says beside, where a test asks for what is not allowed."""


@pytest.fixture
def visit(chromium: Any, served: Served) -> Iterator[Visit]:
    """Opens the page as another visitor; a fault on it or a request to another host is a failure."""
    told: list[str] = []
    contexts = []

    def visit(**settings: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        context.request.post(f"{served.address}/login", form={"username": "anna", "password": "secret"})
        page = context.new_page()
        page.set_default_timeout(SOON)
        page.on("console", lambda m: told.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on(
            "request",
            lambda r: told.append(r.url) if not r.url.startswith((served.address, "data:", "blob:")) else None,
        )
        page.goto(served.address)
        page.wait_for_selector("#controls >> text=Tint")
        page.wait_for_function(SETTLED, polling=700)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [text for text in told if FORBIDDEN not in text] == []


def picture(name: str = "me.png", size: tuple[int, int] = (64, 48), colour: str = "white") -> dict[str, Any]:
    """A file as a browser hands it over."""
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": data.getvalue()}


def upload(page: Any, *files: dict[str, Any], field: str = "#pictures") -> None:
    page.locator(f"{field} input[type=file]").first.set_input_files(list(files))
    page.wait_for_function(
        "([field, n]) => document.querySelectorAll(`${field} .grid-wrap img`).length === n", arg=[field, len(files)]
    )


def draw(page: Any) -> None:
    page.click("#go")
    page.wait_for_selector("#take")
    page.wait_for_selector("#go")


def taken(page: Any) -> tuple[str, bytes]:
    with page.expect_download() as found:
        page.click("#take")
    return found.value.suggested_filename, Path(found.value.path()).read_bytes()


def colour(data: bytes) -> tuple[int, ...]:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB").getpixel((20, 20))  # type: ignore[return-value]


def said(page: Any) -> str:
    return " ".join(page.inner_text("#status").split())


def command(page: Any) -> str:
    return " ".join(page.locator("#call .cm-content").nth(1).inner_text().split())


def test_every_kind_of_widget(visit: Visit) -> None:
    page = visit()
    assert page.locator(".zoo-caption").inner_text() == "An example. Nobody's."
    about = page.inner_text("#about")
    assert "A <b>easel</b> & more" in about and "research use only" in about and "A, B: On X, 2020" in about
    upload(page, picture())
    page.get_by_label("number input for Tint").fill("0.6")
    page.get_by_label("second", exact=True).check()
    page.get_by_label("Invert").check()
    page.get_by_label("Mix").fill("0.25, 1")
    page.get_by_label("Word").fill("rare")
    page.get_by_label(re.compile("shade ·")).check()
    page.get_by_label("number input for Shade").fill("1.5")
    page.click("text=More")
    page.wait_for_function(SETTLED, polling=700)  # what opens there is loaded only then
    page.get_by_label("Count").fill("3")
    fields = page.locator("#controls input[type=file]")
    fields.nth(1).set_input_files([picture("three.png"), picture("four.png")])
    fields.nth(0).set_input_files([picture("two.png")])
    page.wait_for_function("() => document.querySelectorAll('#controls .grid-wrap img').length === 3")
    draw(page)
    assert command(page) == (
        "zoo translate easel me.png -o me-easel.png --other two.png --more three.png --more four.png --tint 0.6"
        " --hand second --invert --mix 0.25,1 --word rare --count 3 --shade 1.5"
    )
    python = page.locator("#call .cm-content").nth(0).inner_text()
    assert 'model.translate("me.png", other="two.png", more=["three.png", "four.png"], tint=0.6' in python
    assert said(page) == "the word is rare"
    name, data = taken(page)
    assert (name, colour(data)) == ("me-easel.png", (51, 13, 13))  # (1 - 0.6) / 2, (1 - 0.9) / 2
    for view, share in (("Before", 1.0), ("After", 0.0)):
        page.click(f"#view >> text={view}")
        page.wait_for_function(
            """share => { const handle = document.querySelector('#pair .outer').getBoundingClientRect(),
              whole = document.querySelector('#pair').getBoundingClientRect();
              return share ? handle.left > whole.left + whole.width * .6 : handle.left < whole.left + whole.width * .4 }""",
            arg=share,
        )
    page.get_by_label("As a film").check()
    page.get_by_label("number input for Pictures of the film").fill("3")
    page.click("#go")
    page.wait_for_selector("#film video")
    page.wait_for_selector("#go")
    assert "steps=3" in command(page)
    name, data = taken(page)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        film, strip = archive.namelist()
        assert name == "results.zip" and film in ("me.mp4", "me.gif") and strip == "me-strip.png"
        with Image.open(io.BytesIO(archive.read(strip))) as image:
            assert image.size == (3 * 64, 48)


def test_several_pictures_one_of_them_bad(visit: Visit) -> None:
    page = visit()
    bad = {"name": "bad.png", "mimeType": "image/png", "buffer": b"no picture"}
    upload(page, picture("a.png"), bad, picture("large.png", (2000, 1600)), picture("b.png", colour="black"))
    draw(page)
    told = said(page)
    assert "bad.png is not a picture that can be read" in told and "large.png has 3 megapixels" in told
    assert "/" not in told  # where it lies here is nobody's business
    name, data = taken(page)
    assert name == "results.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["a-easel.png", "b-easel.png"]
    page.locator("#several button").nth(1).click()
    page.wait_for_selector("#caption >> text=b.png")


def test_a_picture_of_the_camera_and_one_that_is_pasted(visit: Visit) -> None:
    page = visit(permissions=["camera", "clipboard-read", "clipboard-write"])
    page.get_by_label("Capture from camera").first.click()
    page.click("#pictures >> text=Click to Access Webcam")
    page.wait_for_function("() => document.querySelector('#pictures video')?.videoWidth > 0")
    with page.expect_response("**/upload*"):
        page.get_by_label("capture photo").click()
    page.wait_for_selector("#pictures .grid-wrap img")
    page.evaluate(
        """async () => {
          const canvas = new OffscreenCanvas(64, 48); canvas.getContext('2d').fillRect(0, 0, 64, 48)
          const blob = await canvas.convertToBlob({type: 'image/png'})
          await navigator.clipboard.write([new ClipboardItem({'image/png': blob})])
        }"""
    )
    with page.expect_response("**/upload*"):
        page.get_by_label("Paste from clipboard").first.click()
    page.wait_for_function("() => document.querySelectorAll('#pictures .grid-wrap img').length === 2")
    draw(page)
    page.wait_for_selector("#take >> text=Download all 2")


def test_what_cannot_be_done_is_two_lines(visit: Visit, served: Served) -> None:
    page = visit()

    def refused(*told: str) -> None:
        page.click("#go")
        for words in told:
            page.wait_for_selector(f".zoo-error >> text={words}")
        assert "Traceback" not in page.content()

    refused("there is no picture yet", "camera")
    upload(page, picture())
    page.get_by_label("Word").fill("../../etc/passwd")
    refused("is a file, and a page reads only pictures")
    page.get_by_label("Word").fill("bug")
    refused("AttributeError: a fault of the plugin", "where zoo page runs it says more")
    page.get_by_label("Word").fill("fine")
    page.get_by_label("Mix").fill("2")
    refused("mix = [2.0] is not some numbers from 0 to 1")
    page.get_by_label("Mix").fill("0.5")
    draw(page)
    assert "Traceback" in served.said.read_text()  # of the plugin's fault, for who runs the page


def slow(page: Any, seconds: float) -> None:
    page.click("text=Slow task")
    page.wait_for_selector("#controls >> text=Seconds")
    page.get_by_label("Seconds").fill(str(seconds))
    upload(page, picture())


def test_two_visitors_and_a_stop_that_keeps_the_best(visit: Visit) -> None:
    first, second = visit(), visit()
    slow(first, 60)
    upload(second, picture())
    first.click("#go")
    first.wait_for_selector(".zoo-becoming")
    first.wait_for_selector("#status >> text=/ 200")
    second.click("#go")
    second.wait_for_selector("text=1 person is before you")
    first.click("#stop")
    first.wait_for_selector("#take")
    assert said(first) == "Stopped: this is the best so far."
    assert 0 < colour(taken(first)[1])[0] <= 255
    second.wait_for_selector("#take")
    assert said(second) == ""

    first.click("#go")  # and whoever leaves is waited for no longer
    first.wait_for_selector(".zoo-becoming")
    second.click("#go")
    second.wait_for_selector("text=1 person is before you")
    first.close()
    second.wait_for_selector("#status >> text=before you", state="detached")
    second.wait_for_selector("#go")
    assert said(second) == ""


def test_by_keyboard_alone(visit: Visit) -> None:
    page = visit()

    def reach(what: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("what => document.activeElement.matches(what)", what):
                return
        raise AssertionError(f"{what} is not reached")

    reach("#tasks input[value='easel-task']")
    reach("#example")
    page.keyboard.press("Enter")
    page.wait_for_selector("#pictures .grid-wrap img")
    reach("#controls input[type=range]")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    reach("#go")
    page.keyboard.press("Enter")
    page.wait_for_selector("#take")
    assert command(page) == "zoo translate easel portrait.jpg -o portrait-easel.jpg --tint 0.05"
    reach("#view input")
    reach("#take")
    with page.expect_download() as found:
        page.keyboard.press("Enter")
    assert found.value.suggested_filename == "portrait-easel.jpg"


def test_on_a_phone_by_day_and_by_night(visit: Visit) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="light")
    upload(page, picture())
    draw(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.querySelector('#go').offsetHeight") >= 40
    for scheme, share in (("light", 1), ("dark", 0)):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "share => (getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] > 128) == share", arg=share
        )


def ask(address: str, data: bytes | None = None, **headers: str) -> tuple[int, str, Any]:
    request = urllib.request.Request(address, data, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode("utf-8", "replace"), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace"), error.headers


def test_nothing_else_is_served(served: Served) -> None:
    def known(path: str, data: bytes | None = None, **headers: str) -> tuple[int, str, Any]:
        return ask(served.address + path, data, Cookie=served.known, **headers)

    status, page, headers = known("/")
    assert status == 200 and "default-src 'self'" in headers["content-security-policy"]
    assert not re.findall(r"""(?:src|href)=["']https?:""", page)
    assert not re.findall(r"""@import|url\(["']?https?:""", known("/theme.css")[1])
    for path in ("proxy=http://127.0.0.1:9/", "info", "monitoring", "vibe-code/", "deep_link", "run/predict", "call/x"):
        assert known(f"/gradio_api/{path}")[0] == 404
    for path in ("/etc/passwd", str(served.said), str(Path(__file__)), "../../etc/passwd", "C:/x"):
        assert known(f"/gradio_api/file={path}")[0] in (403, 404)
    assert known("/", Host="evil.example")[0] == 421
    assert known("/gradio_api/queue/join", b"{}", Origin="http://evil.example")[0] == 403
    assert known("/gradio_api/queue/join", b"x" * 9_000_000)[0] == 413
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n%b\r\n--x--' % (
        b"0" * 9_000_000
    )
    assert known("/gradio_api/upload", form, Content_Type="multipart/form-data; boundary=x")[0] == 413


def test_only_who_is_known_gets_in(served: Served) -> None:
    assert ask(f"{served.address}/config")[0] == 401
    assert ask(f"{served.address}/gradio_api/upload", b"", **FORM)[0] == 401
    assert ask(f"{served.address}/login", b"username=anna&password=wrong", **FORM)[0] == 400
    assert ask(f"{served.address}/config", Cookie=served.known)[0] == 200


def test_a_file_that_was_not_uploaded_is_not_read(visit: Visit, served: Served) -> None:
    """A visitor who says by hand that a file of this machine is theirs."""
    page = visit()
    upload(page, picture())
    page.click("#go")
    page.wait_for_selector("#take")  # from now on the model is there: what comes next takes no time
    secret = served.temporary.parent / "secret.png"
    secret.write_bytes(picture()["buffer"])
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status) if "/queue/join" in answer.url else None)
    page.route(
        "**/queue/join*",
        lambda route: route.continue_(
            post_data=re.sub(r'"path":\s*"[^"]+"', f'"path": "{secret}"', route.request.post_data)
        ),
    )
    page.click("#go")
    page.wait_for_timeout(3000)
    assert 403 in answers and "secret" not in page.content()


def test_uploads_are_gone_at_the_end(served: Served) -> None:
    """The last test: it ends the page."""
    assert [*served.temporary.glob("zoo-page-*/uploads/*/*")]
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(timeout=20)
    deadline = time.monotonic() + 5
    while [*served.temporary.glob("zoo-page-*")] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [*served.temporary.glob("zoo-page-*")]
