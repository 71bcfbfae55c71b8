// Draws the charts, keeps the page fresh, and tells the server the visitor's time zone.

const REFRESH_MS = 4000;
const root = document.documentElement;
root.classList.add("scripted");

const colour = (value) =>
  getComputedStyle(root).getPropertyValue(value.slice(4, -1)).trim() || "gray";

// `var(--name)` anywhere in a specification becomes the style sheet's colour.
const coloured = (part) => {
  if (typeof part === "string") return /^var\(--[\w-]+\)$/.test(part) ? colour(part) : part;
  if (Array.isArray(part)) return part.map(coloured);
  if (part && typeof part === "object")
    return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, coloured(value)]));
  return part;
};

const theme = () => {
  const text = { labelColor: colour("var(--soft)"), labelFontSize: 12 };
  return {
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: { ...text, domainColor: colour("var(--line)"), tickColor: colour("var(--line)"),
      gridColor: colour("var(--line)") },
    axisX: { grid: false }, axisY: { domain: false, ticks: false },
    legend: { ...text, symbolSize: 90, columns: innerWidth < 640 ? 3 : 0 },
  };
};

const drawn = new WeakMap();

async function draw(box) {
  if (!window.outdialEmbed) return;
  drawn.get(box)?.finalize();
  const spec = { width: "container", height: "container", autosize: { type: "fit", contains: "padding" },
    ...coloured(JSON.parse(box.dataset.spec)) };
  // ast: expressions are interpreted, so the page needs no right to evaluate text as code.
  const made = await window.outdialEmbed(box, spec, { actions: false, ast: true, config: theme(),
    defaultStyle: false, renderer: "canvas", tooltip: { disableDefaultStyle: true, offsetY: 14 } });
  drawn.set(box, made);
}

const drawAll = () => document.querySelectorAll(".chart[data-spec]").forEach(draw);

// What the server last said of each part: the page's own markup changes when it is used.
const said = new Map();
const parts = (from) => [...from.querySelectorAll("[data-live]")];

function replace(part, fresh) {
  const open = part.querySelector("details")?.open;
  const oldChart = part.querySelector(".chart");
  const next = document.importNode(fresh, true);
  const chart = next.querySelector(".chart");
  const same = chart && oldChart && chart.dataset.spec === oldChart.dataset.spec;
  if (chart && oldChart) {
    // The old picture stays until the new one is drawn, so nothing jumps.
    oldChart.dataset.spec = chart.dataset.spec;
    chart.replaceWith(oldChart);
  }
  if (open) next.querySelector("details").open = true;
  part.replaceWith(next);
  const box = next.querySelector(".chart");
  if (box && !same) draw(box);
}

async function refresh() {
  const trouble = document.getElementById("trouble");
  const dot = document.querySelector(".dot");
  try {
    const answer = await fetch(`/live${location.search}`, { cache: "no-store" });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = new Map(parts(page).map((part) => [part.dataset.live, part]));
    const here = new Map(parts(document).map((part) => [part.dataset.live, part]));
    if ([...fresh.keys()].sort().join() !== [...here.keys()].sort().join())
      return location.reload();
    for (const [name, part] of here) {
      const next = fresh.get(name);
      const busy = part.contains(document.activeElement) && name !== "fresh";
      if (said.get(name) !== next.innerHTML && !busy) {
        said.set(name, next.innerHTML);
        replace(part, next);
      }
    }
    trouble.hidden = true;
  } catch {
    trouble.hidden = false;
    dot?.classList.add("off");
  }
}

async function keepFresh() {
  for (;;) {
    await new Promise((wake) => setTimeout(wake, REFRESH_MS));
    if (document.visibilityState === "visible") await refresh();
  }
}

for (const part of parts(document)) said.set(part.dataset.live, part.innerHTML);
const filters = document.getElementById("filters");
filters?.addEventListener("change", () => {
  // A year that is still being typed, which the style sheet marks.
  if (!filters.checkValidity()) return;
  // Dates of one's own end a period that was chosen by name; empty fields stay out of the URL.
  const dated = ["from", "to"].some((name) => filters.elements[name].value);
  for (const field of filters.elements)
    field.disabled = !field.value || (dated && field.name === "period");
  filters.requestSubmit();
});
drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const asked = new URLSearchParams(location.search).has("tz");
if (zone && !asked && !document.cookie.includes(`outdial_tz=${zone}`)) {
  document.cookie = `outdial_tz=${zone}; path=/; max-age=31536000; samesite=lax`;
  refresh();
}
keepFresh();
