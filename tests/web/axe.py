"""axe-core, run in a page: what stands in the way of somebody who does not see, hear or point."""

from pathlib import Path
from typing import Any

from playwright.async_api import Page

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RUN = """async ([part, rules]) => {
  const only = rules.length ? { runOnly: rules } : {};
  const found = await axe.run(part, { resultTypes: ["violations"], ...only });
  const where = (v) => v.nodes.slice(0, 3).map((n) => n.html + " " + n.failureSummary);
  return found.violations.map((v) => [v.impact, v.id, v.help, where(v)]);
}"""


async def barriers(page: Page, *rules: str, part: str = "html") -> list[Any]:
    """What axe-core finds in this part, of whatever impact, with the first few elements it finds it in; by all rules,
    or by these."""
    if not await page.evaluate("typeof window.axe !== 'undefined'"):
        await page.evaluate(AXE)
    found: list[Any] = await page.evaluate(RUN, [part, rules])
    return found
