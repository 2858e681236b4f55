"""Layout of HTML pages in headless Chromium."""

import re
import shutil
import subprocess

import pytest

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")


def overflows(page, width):
    """Set of the pixels by which a page and its scrolling regions exceed a window of ``width`` pixels."""
    # Headless Chromium has a least window width, so the page is shown in a frame of the wanted width.
    frame = page.with_name("frame.html")
    frame.write_text(
        f"""<iframe style="width: {width}px; height: 900px; border: 0" src="{page.name}"></iframe><script>
        onload = () => {{
          const page = document.querySelector("iframe").contentDocument;
          const regions = [page.documentElement, ...page.querySelectorAll(".scroll")];
          document.body.textContent = regions.map(e => e.scrollWidth - e.clientWidth).join(" ");
        }}</script>"""
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [f"--user-data-dir={page.with_name('profile')}", "--window-size=1500,1000", "--dump-dom"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    (found,) = re.findall(r"<body>([\d -]+)</body>", done.stdout)
    return set(map(int, found.split()))
