"""A page in Firefox with as much of Playwright's interface as the tests of the page use."""

import re
import time

KEYS = {
    "ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015", "Enter": "\ue007",
    "Escape": "\ue00c", "Home": "\ue011", "End": "\ue010", "PageUp": "\ue00e", "PageDown": "\ue00f",
}  # fmt: skip
#: What a step of a locator finds, from the elements that the step before has found.
FIND = """
const find = (steps) => steps.reduce((found, [step, value]) => {
  if (step === "nth") return found.slice(value).slice(0, 1);
  if (step === "text") return found.filter((e) => e.textContent.includes(value));
  return [...new Set(found.flatMap((e) => [...e.querySelectorAll(value)]))];
}, [document]);
const [steps, ...args] = arguments;
const all = find(steps);
const e = all[0];
const seen = (e) => Boolean(e?.getClientRects().length) && getComputedStyle(e).visibility !== "hidden";
"""
FUNCTION = re.compile(r"\s*(async\s+)?(\([^()]*\)|\w+)\s*=>")
PATIENCE = 60  # seconds for what comes at once: machines are slow at times


class Page:
    """The window's only page."""

    def __init__(self, window):
        self.window, self.keyboard, self.mouse = window, Keyboard(window), Mouse(window)

    def locator(self, selector, has_text=None):
        return Locator(self, []).locator(selector, has_text)

    def evaluate(self, expression, *args):
        called = f"({expression})(...arguments)" if FUNCTION.match(expression) else f"({expression})"
        # What is neither a list nor plain cannot be handed over.
        return self.window.run(
            f"const it = {called}; return Array.isArray(it) || Object(it) !== it ? it : null;", *args
        )

    def wait_for_timeout(self, milliseconds):
        time.sleep(milliseconds / 1000)

    def screenshot(self):
        return self.window.screenshot()


class Keyboard:
    def __init__(self, window):
        self._window = window

    def press(self, key):
        self.type([KEYS.get(key, key)])

    def type(self, text):
        strokes = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        act(self._window, {"type": "key", "id": "keys", "actions": strokes})


class Mouse:
    def __init__(self, window):
        self._window = window

    def move(self, x, y, *buttons):
        steps = [{"type": "pointerMove", "x": round(x), "y": round(y)}]
        steps += [{"type": button, "button": 0} for button in buttons]
        act(self._window, {"type": "pointer", "id": "mouse", "actions": steps})

    def click(self, x, y):
        self.move(x, y, "pointerDown", "pointerUp")


def act(window, actions):
    """Do something as a person would; what depends on it is drawn when this returns."""
    window("WebDriver:PerformActions", actions=[actions])
    window("WebDriver:ExecuteAsyncScript", args=[], script="""
        const [done] = arguments; requestAnimationFrame(() => requestAnimationFrame(() => done()));""")  # fmt: skip


class Locator:
    """Elements that selectors find, looked for anew with every question."""

    def __init__(self, page, steps):
        self.page, self.steps = page, steps

    def locator(self, selector, has_text=None):
        steps = [["css", part] for part in selector.split(" >> nth=")[:1]]
        steps += [["nth", int(part)] for part in selector.split(" >> nth=")[1:]]
        return Locator(self.page, [*self.steps, *steps, *([["text", has_text]] if has_text else [])])

    def nth(self, number):
        return Locator(self.page, [*self.steps, ["nth", number]])

    @property
    def first(self):
        return self.nth(0)

    @property
    def last(self):
        return self.nth(-1)

    def ask(self, answer, *args):
        """What an expression over the elements (``all``, the first one ``e``) gives."""
        return self.page.window.run(f"{FIND} return ({answer});", self.steps, *args)

    def count(self):
        return self.ask("all.length")

    def all(self):
        return [self.nth(number) for number in range(self.count())]

    def is_visible(self):
        return self.ask("seen(e)")

    def all_inner_texts(self):
        return self.ask("all.map((e) => e.innerText)")

    def all_text_contents(self):
        return self.ask("all.map((e) => e.textContent)")

    def evaluate_all(self, function):
        return self.ask(f"({function})(all)")

    def one(self, answer, *args):
        """As :meth:`ask`, once there is an element."""
        poll(lambda: self.count() > 0, lambda: f"no element for {self.steps}")
        return self.ask(answer, *args)

    def evaluate(self, function):
        return self.one(f"({function})(e)")

    def inner_text(self):
        return self.one("e.innerText")

    def text_content(self):
        return self.one("e.textContent")

    def get_attribute(self, name):
        return self.one("e.getAttribute(args[0])", name)

    def bounding_box(self):
        return self.one("(({x, y, width, height}) => ({x, y, width, height}))(e.getBoundingClientRect())")

    def _middle(self):
        poll(self.is_visible, lambda: f"not visible: {self.steps}")
        self.ask("e.scrollIntoView({block: 'nearest', inline: 'nearest'})")
        box = self.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def hover(self):
        self.page.mouse.move(*self._middle())

    def click(self):
        self.page.mouse.click(*self._middle())

    def focus(self):
        self.one("e.focus()")

    def press(self, key):
        self.focus()
        self.page.keyboard.press(key)

    def fill(self, text):
        self.focus()
        self._set(text, "input")

    def select_option(self, value):
        self._set(value, "change")

    def _set(self, value, event):
        self.one("(e.value = args[0], e.dispatchEvent(new Event(args[1], {bubbles: true})))", value, event)
        act(self.page.window, {"type": "key", "id": "keys", "actions": []})

    def check(self, wanted=True):
        if self.one("e.checked") != wanted:
            self.click()

    def uncheck(self):
        self.check(False)


class Expected:
    """What is, or soon will be, true of a locator's elements."""

    def __init__(self, locator):
        self._of = locator

    def _true(self, answer, *args):
        poll(lambda: self._of.ask(answer, *args), lambda: f"never: {answer} {args} of {self._of.steps}")

    def _texts(self, matches):
        def now():
            return [" ".join(text.split()) for text in self._of.all_text_contents()]

        poll(lambda: matches(now()), lambda: f"{self._of.steps} has {now()}")

    def to_have_text(self, text):
        if isinstance(text, list):
            self._texts(lambda now: now == text)
        elif isinstance(text, re.Pattern):
            self._texts(lambda now: len(now) == 1 and text.search(now[0]))
        else:
            self._texts(lambda now: now == [" ".join(text.split())])

    def to_contain_text(self, text):
        self._texts(lambda now: len(now) == 1 and " ".join(text.split()) in now[0])

    def to_have_count(self, count):
        self._true("all.length === args[0]", count)

    def to_have_attribute(self, name, value):
        if isinstance(value, re.Pattern):
            poll(lambda: value.search(self._of.get_attribute(name) or ""), lambda: f"{self._of.get_attribute(name)}")
        else:
            self._true("e?.getAttribute(args[0]) === args[1]", name, value)

    def to_have_class(self, names):
        self._true("e?.className === args[0]", names)

    def to_have_value(self, value):
        self._true("e?.value === args[0]", value)

    def to_be_visible(self):
        self._true("seen(e)")

    def to_be_hidden(self):
        self._true("!seen(e)")

    def to_be_disabled(self):
        self._true("e?.disabled")

    def to_be_focused(self):
        self._true("e === document.activeElement")


def poll(condition, trouble):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, trouble()
        time.sleep(0.02)
