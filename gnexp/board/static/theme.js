// Light or dark, as TensorBoard is; colours that the colour-blind tell apart (Okabe and Ito, 2008).

const [BLUE, SKY] = ["#0072B2", "#56B4E9"];
export const COLORS = [BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", SKY, "#8c6d31", "#7f7f7f"];
export const FAILED = "#D55E00";
export const RUNNING = "#E69F00";
export const SCALE = "Cividis";

function isDark() {
  try {
    if (window.parent !== window) return window.parent.document.body.classList.contains("dark-mode");
  } catch {
    // Another origin: as the system has it.
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

export function followTheme(onchange) {
  const apply = () => {
    const theme = isDark() ? "dark" : "light";
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    // On a dark ground the light blue comes first, on a light one the deep one.
    [COLORS[0], COLORS[5]] = theme === "dark" ? [SKY, BLUE] : [BLUE, SKY];
    onchange();
  };
  apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  try {
    const options = { attributes: true, attributeFilter: ["class"] };
    if (window.parent !== window) new MutationObserver(apply).observe(window.parent.document.body, options);
  } catch {
    // Another origin does not say.
  }
}

export function themed() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  return { text: color("--text"), faint: color("--faint"), paper: color("--paper"), line: color("--line") };
}
