// The page of one sweep, and that of several side by side.

import { answerPanel } from "./answer.js";
import { choose, chosenValue } from "./choice.js";
import { button, el, fill, simpleTable } from "./dom.js";
import { curvesPanel, importancePanel, timelinePanel } from "./over_time.js";
import { makePanel } from "./panel.js";
import { parallelPanel } from "./parallel.js";
import { draw } from "./plot.js";
import { distributionPanel, progressPanel } from "./progress.js";
import { contourPanel, slicesPanel } from "./slices.js";
import { SweepData } from "./sweep_data.js";
import { trialTable } from "./table.js";
import { trialView } from "./trial_view.js";
import { count, duration, moment, plain, short } from "./words.js";

// Which parts have to be drawn again after a change of choice; the table follows every one of these.
const TOUCHES = {
  progress: ["progressX", "progressLog", "filters", "brushes", "states"],
  slices: ["plainSlices", "filters", "brushes", "states"],
  parallel: ["axesOff", "brushes"],
  contour: ["contourX", "contourY", "contourRanks"],
  curves: ["picked", "curveFigure", "curveLog"],
  trials: ["filters", "brushes", "states", "sort", "hidden", "picked"],
};

export function sweepView(name, back) {
  const sweep = new SweepData(name);
  const about = el("p", { role: "status" });
  const problem = el("div", { class: "failure", role: "alert" });
  const openTrial = (id) => choose({ trial: id });
  const one = trialView(sweep, () => choose({ trial: null }));
  const panels = {};
  const parts = el("div", { class: "panels" });
  const element = el("main", {}, el("nav", {}, button("All sweeps", back)), el("h1", {}, name === "." ? "Sweep" : name), about, problem, parts, one.element);

  function build() {
    Object.assign(panels, {
      answer: answerPanel(sweep, openTrial),
      progress: progressPanel(sweep, openTrial),
      curves: curvesPanel(sweep),
      slices: slicesPanel(sweep, openTrial),
      parallel: parallelPanel(sweep),
      trials: trialTable(sweep, openTrial),
      contour: contourPanel(sweep, openTrial),
      importance: importancePanel(sweep),
      distribution: distributionPanel([sweep]),
      timeline: timelinePanel(sweep, openTrial),
    });
    for (const wide of ["slices", "parallel"]) panels[wide].element.classList.add("wide");
    fill(parts, Object.values(panels).map((panel) => panel.element));
  }

  function sayState() {
    const { counts, expected, tuner, seeds, left, last, finished, stopped, problems = [] } = sweep.about;
    fill(problem, [sweep.about.problem, stopped, ...problems].filter(Boolean).map((text) => el("p", {}, text)));
    if (!counts) return;
    const best = sweep.leader;
    const parted = [
      sweep.about.complete === false && "reading ...",
      `${counts.completed + counts.failed} of ${count(expected, "trial")}`,
      `${counts.failed} failed`,
      finished ? "finished" : `${counts.running} running`,
      best && `best: trial ${best.id}, ${sweep.about.objective} ${sweep.leads().score}`,
      left > 1 && `about ${duration(left)} left`,
      last && `last sign of life ${moment(last)}`,
      `tuner ${tuner}, ${count(seeds, "seed")} per trial`,
      sweep.about.chosen_on_test && "chosen on the test set",
    ];
    about.textContent = parted.filter(Boolean).join(" · ");
  }

  async function refresh() {
    const news = await sweep.refresh();
    sayState();
    const complete = sweep.about.complete !== false;
    if (panels.answer?.isBehind() && complete) panels.answer.refresh();
    if ((!news && complete === wasComplete) || !sweep.about.counts) return complete;
    const first = !panels.trials;
    if (first) build();
    // While a large sweep is read for the first time, the table follows, and the pictures wait for all of it.
    const parts = complete || first ? Object.values(panels) : [panels.trials];
    wasComplete = complete;
    one.refresh();
    await Promise.all(parts.map((panel) => panel.refresh()));
    return complete;
  }
  let wasComplete = true;

  function changed(changes) {
    if ("trial" in changes) {
      if (chosenValue("trial")) one.open(chosenValue("trial"));
      else if (one.isOpen()) one.element.close();
    }
    for (const [part, names] of Object.entries(TOUCHES)) if (names.some((each) => each in changes)) panels[part]?.refresh();
  }

  const first = async () => {
    const complete = await refresh();
    if (chosenValue("trial") && sweep.about.counts) one.open(chosenValue("trial"));
    return complete;
  };
  let started = false;
  return {
    element,
    refresh: () => (started ? refresh() : ((started = true), first())),
    redraw: () => Object.values(panels).forEach((panel) => panel.refresh()),
    changed,
    close: () => Object.values(panels).forEach((panel) => panel.close()),
  };
}

export function compareSweeps(names, back) {
  const sweeps = names.map((name) => new SweepData(name));
  const table = el("div");
  let panels = [];
  let built = "";
  const parts = el("div", { class: "panels" });
  const element = el("main", {}, el("nav", {}, button("All sweeps", back)), el("h1", {}, `${names.length} sweeps`), table, parts);

  const bestSoFar = (sweep) => sweep.bestSoFar(sweep.all.filter((row) => row.status !== "running"));
  // Those of one objective: figures of several share no axis.
  function build(sweeps, number, suffix) {
    const history = makePanel({
      id: `progress${number || ""}`,
      title: `The best so far${suffix}`,
      update: (place) =>
        draw(
          place,
          sweeps.map((sweep) => ({ type: "scatter", mode: "lines", line: { shape: "hv" }, name: plain(sweep.name), x: bestSoFar(sweep).map((_, index) => index + 1), y: bestSoFar(sweep) })),
          { xaxis: { title: { text: "trials" } }, yaxis: { title: { text: plain(sweeps[0].about.objective) } }, showlegend: true },
        ),
      table: () => [["sweep", "trials", "best"], sweeps.map((sweep) => [sweep.name, sweep.rows.size, sweep.leads().score])],
    });
    return [history, distributionPanel(sweeps, `distribution${number || ""}`, suffix)];
  }

  function buildAll(known) {
    panels.forEach((panel) => panel.close());
    const objectives = [...new Set(known.map((sweep) => sweep.about.objective))];
    panels = objectives.flatMap((objective, number) => {
      const suffix = objectives.length > 1 ? `: ${objective}` : "";
      return build(known.filter((sweep) => sweep.about.objective === objective), number, suffix);
    });
    parts.replaceChildren(...panels.map((panel) => panel.element));
  }

  async function refresh() {
    const news = (await Promise.all(sweeps.map((sweep) => sweep.refresh()))).some(Boolean);
    const complete = sweeps.every((sweep) => sweep.about.complete !== false);
    if (!news) return complete;
    const known = sweeps.filter((sweep) => sweep.about.counts);
    const rows = known.map((sweep) => {
      const { score, test } = sweep.leads();
      const { counts, objective, tuner, seeds, expected } = sweep.about;
      return [sweep.name, tuner, `${counts.completed} of ${expected}`, counts.failed, seeds, `${objective} ${score}`, test && `${sweep.about.headline} ${test}`, sweep.leader?.id ?? ""];
    });
    const paths = [...new Set(known.flatMap((sweep) => Object.keys(sweep.about.config)))];
    const shown = (sweep, path) => short(sweep.about.config[path]);
    const differing = paths.filter((path) => !path.startsWith("sweep.space") && new Set(known.map((sweep) => shown(sweep, path))).size > 1);
    fill(
      table,
      sweeps.filter((sweep) => sweep.about.problem).map((sweep) => el("p", { class: "failure" }, `${sweep.name}: ${sweep.about.problem}`)),
      simpleTable(["sweep", "tuner", "completed", "failed", "seeds", "best", "its test figure", "trial"], rows, "The sweeps"),
      differing.length ? simpleTable(["key", ...known.map((sweep) => sweep.name)], differing.map((path) => [path, ...known.map((sweep) => shown(sweep, path))]), "What differs in their configs") : null,
    );
    const now = JSON.stringify(known.map((sweep) => [sweep.name, sweep.about.objective]));
    if (now !== built) buildAll(known);
    built = now;
    await Promise.all(panels.map((panel) => panel.refresh()));
    return complete;
  }
  return { element, refresh, redraw: () => panels.forEach((panel) => panel.refresh()), changed: () => {}, close: () => panels.forEach((panel) => panel.close()) };
}
