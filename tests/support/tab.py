"""The tab Sweeps in a real browser, as selenium drives it."""

import json
import time
import urllib.parse

import pytest

# Chromium without a graphics card says it of WebGL, and TensorBoard of its own page; its fonts ignore --path_prefix.
HARMLESS = ("font-roboto", "GL Driver Message", "Multiple instances of Three.js", "swiftshader", "SwiftShader")


class Page:
    """The tab in the browser."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url

    def open(self, **choice):
        """Opens the tab with a choice in the address."""
        self.browser.switch_to.default_content()
        self.browser.get("about:blank")
        text = urllib.parse.quote(json.dumps(choice))
        self.browser.get(f"{self.url}#sweeps&sweeps-choice={text}")
        self.enter()
        return self

    def enter(self):
        """Goes into the frame of the tab."""
        self.until(lambda: self.browser.find_elements("css selector", "iframe[src*=sweeps], iframe"))
        self.browser.switch_to.frame(self.browser.find_elements("css selector", "iframe")[0])
        self.until(lambda: self.all("main"))

    def until(self, condition, seconds=30):
        """Returns what a condition gives as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited in vain; the console says {self.console()}"
            time.sleep(0.1)
        return found

    def all(self, selector):
        """Returns the elements of a selector."""
        return self.browser.find_elements("css selector", selector)

    def one(self, selector):
        """Returns the first element of a selector, once there is one."""
        return self.until(lambda: self.all(selector))[0]

    def texts(self, selector):
        """Returns the texts of a selector's elements, in view or not."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector
        )

    def button(self, text):
        """Returns the button that says this."""
        return next(each for each in self.all("button") if each.text == text)

    def trials(self):
        """Returns the trials in the table's view, in order."""
        return self.texts("table.trials tbody button.link")

    def status(self):
        """Returns what the table says of how many trials it shows."""
        return self.texts("#panel-trials [role=status]")[0]

    def drawn(self, panel):
        """Scrolls a panel into view and waits until its picture is drawn."""
        self.until(lambda: self.all(f"#panel-{panel}"))
        script = "document.getElementById(arguments[0]).scrollIntoView()"
        self.browser.execute_script(script, f"panel-{panel}")
        return self.until(lambda: self.all(f"#panel-{panel} .js-plotly-plot .main-svg"))

    def filter(self, label, text):
        """Types a filter into the table's head."""
        box = self.one(f"input[aria-label='Filter {label}']")
        box.clear()
        box.send_keys(text, "\n")

    def drag(self, start, end):
        """Draws with the mouse from one place of the tab to another; a click where they are the same."""
        script = "const { x, y } = window.frameElement.getBoundingClientRect(); return [x, y]"
        left, top = self.browser.execute_script(script)  # The driver counts from the corner of TensorBoard's page.
        (x, y), (to_x, to_y) = [(round(left + x), round(top + y)) for x, y in (start, end)]
        actions = pytest.importorskip("selenium.webdriver.common.actions.action_builder").ActionBuilder(self.browser)
        actions.pointer_action.move_to_location(x, y).pointer_down()
        if start != end:
            actions.pointer_action.move_to_location((x + to_x) // 2, (y + to_y) // 2).move_to_location(to_x, to_y)
        actions.pointer_action.pointer_up()
        actions.perform()

    def choice(self):
        """Returns what the address says is chosen."""
        address = self.browser.execute_script("return window.parent.location.hash")
        return json.loads(urllib.parse.unquote(address.partition("sweeps-choice=")[2]))

    def console(self):
        """Returns what the console said that is wrong, since the last call."""
        said = [entry["message"] for entry in self.browser.get_log("browser")]
        return [message for message in said if not any(text in message for text in HARMLESS)]
