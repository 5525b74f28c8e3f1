// Where the figures come from: TensorBoard's server, or the report's own file.

const embedded = document.getElementById("gnexp-data");
const kept = embedded ? JSON.parse(embedded.textContent) : null;

export const isReport = kept !== null;

export async function ask(route, name = "", argument = "") {
  if (isReport) return keptAnswer(route, name, argument);
  try {
    const response = await fetch(`${route}?${new URLSearchParams({ name, arg: argument })}`);
    return await response.json();
  } catch (error) {
    return { problem: `TensorBoard does not answer: ${error.message}`, away: true };
  }
}

function keptAnswer(route, name, argument) {
  if (route === "sweep" && argument) return { version: argument, unchanged: true };
  if (route === "curves") {
    const all = kept.curves?.[name] ?? {};
    const asked = argument.split(",").filter(Boolean);
    return { curves: asked.flatMap((trial) => all[trial] ?? []), absent: asked.filter((trial) => !all[trial]) };
  }
  return kept[route]?.[name]?.[route === "trial" ? argument : ""] ?? { problem: "The report does not hold this. TensorBoard shows it." };
}
