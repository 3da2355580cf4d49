"""One reading in Chromium, by keyboard alone: session.py PAGE READER ANSWERS DOWNLOADS [SCREENSHOTS]

ANSWERS is a line of the letters r and g, one for each image. Prints one JSON line with what the page showed, and ends
with an error if it asked the network for anything.
"""

import json
import sys
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

page, reader, answers, downloads = sys.argv[1:5]
shots = Path(sys.argv[5]) if len(sys.argv) > 5 else None

options = webdriver.ChromeOptions()
options.binary_location = "/usr/bin/chromium"
for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,860", "--disable-dev-shm-usage"]:
    options.add_argument(argument)
options.add_experimental_option("prefs", {"download.default_directory": downloads, "download.prompt_for_download": False})
options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))


def wait(what, condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"the page did not come to: {what}")
        time.sleep(0.02)


def press(*keys):
    driver.switch_to.active_element.send_keys(*keys)


def shot(name):
    if shots:
        driver.save_screenshot(str(shots / f"{name}.png"))


def image():
    return driver.find_element(By.ID, "image").get_attribute("src")


def place():
    return driver.find_element(By.ID, "place").text


def ready(number):
    """The image of this number is on the screen, and the page takes an answer."""
    wait(f"image {number}", lambda: place() == f"Image {number} of {len(answers)}" and not driver.execute_script("return locked"))


try:
    driver.get(f"file://{page}")
    shot("1-start")
    press(Keys.ENTER)
    refused = driver.find_element(By.ID, "error").text
    press(reader, Keys.ENTER)
    seen = []
    for number, answer in enumerate(answers, 1):
        ready(number)
        seen.append(image())
        if number == 2:
            # A slip, taken back: the first image comes again and gets its answer anew.
            press(Keys.BACKSPACE)
            ready(1)
            assert image() == seen[0]
            press(Keys.ARROW_LEFT if answers[0] == "r" else Keys.ARROW_RIGHT)
            ready(2)
        if number == 3:
            shot("2-image")
        if number == 4:
            # The window is closed and opened again: the same reader goes on.
            driver.refresh()
            press(reader, Keys.ENTER)
            ready(4)
            assert image() == seen[3]
        press(Keys.ARROW_LEFT if answer == "r" else Keys.ARROW_RIGHT)
    wait("the end", lambda: driver.find_element(By.ID, "end").is_displayed())
    shot("3-end")
    wait("the file", lambda: any(Path(downloads).glob("answers-*.json")))
    visible = driver.find_element(By.TAG_NAME, "body").text
    requests = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [r["params"]["request"]["url"] for r in requests if r["method"] == "Network.requestWillBeSent"]
    outside = [url for url in urls if not url.startswith(("file:", "data:", "blob:"))]
    faults = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
finally:
    driver.quit()
if outside or faults:
    raise SystemExit(f"the page asked for {outside}, and said {faults}")
print(json.dumps({"refused": refused, "images": len(set(seen)), "seen": len(seen), "end": visible}))
