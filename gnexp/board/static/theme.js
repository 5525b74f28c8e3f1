// Light or dark, as TensorBoard is; colours that the colour-blind tell apart (Okabe and Ito, 2008).

const [BLUE, SKY] = ["#0072B2", "#56B4E9"];
export const COLORS = [BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", SKY, "#8c6d31", "#7f7f7f"];
export const FAILED = "#D55E00";
export const RUNNING = "#E69F00";

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

// Cividis (Nuñez and others, 2018); on a dark ground its blue is a lighter one, which is seen there.
export function scale() {
  if (document.documentElement.dataset.theme !== "dark") return "Cividis";
  return [[0, "#6d8fd6"], [0.35, "#8f9bb3"], [0.65, "#b9ad7e"], [1, "#ffe945"]];
}

export function themed() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  return { text: color("--text"), faint: color("--faint"), paper: color("--paper"), line: color("--line") };
}
