"""Goes through pages with a real browser, as different people do.

usage: pages.py SCREENSHOTS URL...      (K2P_CHROMIUM, K2P_AXE: paths)

Each page is opened on a desktop and on a phone, light and dark, and without JavaScript. It
must load nothing that its policy forbids and report no error, must not be wider than the
screen, must say the same without JavaScript, and must pass axe-core. Prints one line for
each fault; exit code 1 if there is any.
"""

import os
import re
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WAYS = [
    ("desktop", {"viewport": {"width": 1280, "height": 900}}),
    ("phone", {"viewport": {"width": 375, "height": 800}, "is_mobile": True, "has_touch": True}),
    ("dark", {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}),
    ("dark phone", {"viewport": {"width": 375, "height": 800}, "is_mobile": True, "color_scheme": "dark"}),
    ("without JavaScript", {"viewport": {"width": 1280, "height": 900}, "java_script_enabled": False}),
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
BROWSER = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-dev-shm-usage",
]


def accessibility(page, axe):
    # Evaluated by the debugger: the page's policy forbids scripts of others, as it should.
    page.evaluate(axe)
    result = page.evaluate("rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES)
    for violation in result["violations"]:
        nodes = ", ".join(" ".join(map(str, node["target"])) for node in violation["nodes"][:3])
        yield f"axe: {violation['id']} ({violation['impact']}): {violation['help']}: {nodes}"
    if len(result["passes"]) < 10:
        yield f"axe looked at {len(result['passes'])} rules only"


def look(context, url, way, axe, picture):
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("requestfailed", lambda r: faults.append(f"not loaded: {r.url}"))
    answer = page.goto(url, wait_until="load")
    if answer.status != 200:
        faults.append(f"status {answer.status}")
    # Without the number behind it, which may change from one look to the next.
    heading = re.sub(r"\s*\d+$", "", page.locator("h1").first.inner_text())
    rows = page.locator("tbody tr").count()
    if way != "without JavaScript":
        width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if width > 0:
            faults.append(f"{width} pixels wider than the screen")
        unnamed = page.evaluate("[...document.querySelectorAll('[style],[onclick],script:not([src]),style')].length")
        if unnamed:
            faults.append(f"{unnamed} inline styles or scripts")
        faults += accessibility(page, axe)
    page.screenshot(path=picture, full_page=True)
    page.close()
    return heading, rows, faults


def main():
    pictures, urls = Path(sys.argv[1]), sys.argv[2:]
    axe = Path(os.environ["K2P_AXE"]).read_text()
    failed = looked = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["K2P_CHROMIUM"], args=BROWSER)
        for number, url in enumerate(urls):
            seen = {}
            for way, settings in WAYS:
                context = browser.new_context(**settings)
                picture = pictures / f"{number}-{way.replace(' ', '-')}.png"
                heading, rows, faults = look(context, url, way, axe, picture)
                seen[way] = (heading, rows > 0)
                context.close()
                looked += 1
                for fault in faults:
                    failed += 1
                    print(f"{url} ({way}): {fault}")
            if seen["desktop"] != seen["without JavaScript"]:
                failed += 1
                print(f"{url}: without JavaScript it says something else: {seen}")
        browser.close()
    print(f"{looked} looks, {failed} faults")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
