"""The section of a sweep's page that answers what the sweep asks, with its picture."""

from gnexp.analysis import answer_words
from gnexp.analysis.sweep import Swept
from gnexp.reports import answer_plots, page, sweep_plots
from gnexp.reports.page import Section

_HEADING = "What the sweep asks"


def section(sweep: Swept) -> Section:
    """Returns the section; if it would be empty or unfair, it only says why."""
    told = answer_words.tell(sweep)
    if told.left_out:
        return Section(_HEADING, [f"Left out: {told.left_out}."])
    paragraphs = [told.how, page.table(told.rows, told.headers), *([told.compared] if told.compared else [])]
    if told.differences:
        paragraphs.append(page.table(told.differences, answer_words.HEADERS_OF_DIFFERENCES))
    if told.curves:
        return Section(_HEADING, paragraphs, "answer", sweep_plots.responses(sweep, told.curves))
    if not told.found:
        return Section(_HEADING, paragraphs)
    return Section(_HEADING, paragraphs, "answer", answer_plots.error(told.found, told.axis))
