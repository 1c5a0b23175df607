// Charts by uPlot. Each is an image with a name; the figures stand in a table or list beside it as well.

/** A colour of the style sheet as it is now, light or dark: a canvas knows no `light-dark()`. */
function colour(name) {
  probe.style.setProperty("color", `var(${name})`);
  if (!probe.isConnected) document.body.append(probe);
  return getComputedStyle(probe).color;
}

const probe = document.createElement("span");
probe.hidden = true;

/** Draws `make(width)` (uPlot options and data) into `holder`, and again when width or theme change. */
function chart(holder, name, height, make, signal) {
  holder.classList.add("chart");
  holder.setAttribute("role", "img");
  holder.setAttribute("aria-label", name);
  holder.style.setProperty("height", `${height}px`);
  let plot = null;
  let width = 0;
  const draw = () => {
    if (!holder.isConnected || holder.clientWidth === 0 || !globalThis.uPlot) return;
    plot?.destroy();
    width = holder.clientWidth;
    const { options, data } = make();
    plot = new globalThis.uPlot({ width, height, legend: { show: false }, cursor: { show: false }, ...options }, data, holder);
  };
  const observer = new ResizeObserver(() => {
    if (Math.abs(holder.clientWidth - width) > 1) draw();
  });
  observer.observe(holder);
  addEventListener("themed", draw, { signal });
  signal.addEventListener("abort", () => {
    observer.disconnect();
    plot?.destroy();
  });
}

function axis(more = {}) {
  return {
    stroke: colour("--quiet"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
    ...more,
  };
}

/** Bars of counts a day. days: epoch seconds of each day's start, counts: of each. */
export function daily(holder, name, days, counts, format, signal) {
  chart(holder, name, 150, () => ({
    data: [days, counts],
    options: {
      scales: { x: { time: false, range: [days[0] - 43200, days[days.length - 1] + 43200] }, y: { range: (_, __, most) => [0, Math.max(4, most * 1.1)] } },
      axes: [
        axis({ grid: { show: false }, values: (_, splits) => splits.map(format), size: 26, splits: (plot) => days.filter((_, place) => (days.length - 1 - place) % (plot.width < 420 ? 14 : 7) === 0) }),
        axis({ size: 36, incrs: [1, 2, 5, 10, 20, 50, 100] }),
      ],
      series: [{}, { fill: colour("--accent"), stroke: colour("--accent"), width: 0, points: { show: false }, paths: globalThis.uPlot.paths.bars({ size: [0.7, 24], radius: 0.2 }) }],
    },
  }), signal);
}

/** As many of the rows as have room for their names. */
const fitted = (rows, holder, make) => make(rows.slice(0, Math.max(3, Math.floor((holder.clientWidth - 60) / 42))));

const LEANING = [8, 62, 0, 0]; // px around a plot whose last name leans out to the right
const NAME = 13; // characters that have room

/** Both ends of a name that is too long: those of one family differ at the end. */
function short(name) {
  const letters = Array.from(name);
  return letters.length > NAME ? `${letters.slice(0, 5).join("")}…${letters.slice(6 - NAME).join("")}` : name;
}

function categories(names) {
  return axis({
    grid: { show: false },
    size: 58,
    rotate: -28,
    splits: () => names.map((_, place) => place),
    values: () => names.map(short),
  });
}

/** Spend of each name today as a share of its budget (bar), beside what pacing allows by now (line) and all of it (faint
 * bar): shares, so that a small campaign can be read beside a large one. */
export function spend(holder, name, all, format, signal) {
  chart(holder, name, 250, () => fitted(all, holder, (rows) => ({
    data: [rows.map((_, place) => place), rows.map(() => 1), rows.map((row) => (row.budget ? row.spent / row.budget : 0)), rows.map((row) => (row.budget && row.allowed !== null ? row.allowed / row.budget : null))],
    options: {
      padding: LEANING,
      scales: { x: { time: false, range: [-0.6, rows.length - 0.4] }, y: { range: (_, __, most) => [0, Math.max(1, most) * 1.05] } },
      axes: [categories(rows.map((row) => row.name)), axis({ size: 48, values: (_, splits) => splits.map(format), incrs: [0.25, 0.5, 1] })],
      series: [
        {},
        { fill: colour("--line"), stroke: colour("--line"), width: 0, points: { show: false }, paths: globalThis.uPlot.paths.bars({ size: [0.62, 44], radius: 0.1 }) },
        { fill: colour("--accent"), stroke: colour("--accent"), width: 0, points: { show: false }, paths: globalThis.uPlot.paths.bars({ size: [0.4, 28], radius: 0.1 }) },
        { paths: () => null, points: { show: false } },
      ],
      hooks: { draw: [(plot) => {
        const { ctx } = plot;
        ctx.save();
        ctx.strokeStyle = colour("--text");
        ctx.lineWidth = 2 * devicePixelRatio;
        plot.data[3].forEach((share, place) => {
          if (share === null) return;
          const x = plot.valToPos(place, "x", true);
          const y = plot.valToPos(share, "y", true);
          const half = Math.min(24 * devicePixelRatio, (plot.bbox.width / rows.length) * 0.33);
          ctx.beginPath();
          ctx.moveTo(x - half, y);
          ctx.lineTo(x + half, y);
          ctx.stroke();
        });
        ctx.restore();
      }] },
    },
  })), signal);
}

/** A rate with its interval for each name. */
export function intervals(holder, name, all, format, signal) {
  chart(holder, name, 250, () => fitted(all, holder, (rows) => ({
    data: [rows.map((_, place) => place), rows.map((row) => row.rate), rows.map((row) => row.high)],
    options: {
      padding: LEANING,
      scales: { x: { time: false, range: [-0.6, rows.length - 0.4] }, y: { range: () => [0, Math.max(0.01, ...rows.map((row) => row.high)) * 1.08] } },
      axes: [categories(rows.map((row) => row.name)), axis({ size: 56, values: (_, splits) => splits.map(format) })],
      series: [{}, { paths: () => null, points: { show: true, size: 9, fill: colour("--accent"), stroke: colour("--accent") } }, { paths: () => null, points: { show: false } }],
      hooks: { drawSeries: [(plot, series) => {
        if (series !== 1) return;
        const { ctx } = plot;
        ctx.save();
        ctx.strokeStyle = colour("--accent");
        ctx.lineWidth = 2 * devicePixelRatio;
        rows.forEach((row, place) => {
          const x = plot.valToPos(place, "x", true);
          const [low, high] = [row.low, row.high].map((value) => plot.valToPos(value, "y", true));
          const cap = 6 * devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x, low);
          ctx.lineTo(x, high);
          for (const y of [low, high]) {
            ctx.moveTo(x - cap, y);
            ctx.lineTo(x + cap, y);
          }
          ctx.stroke();
        });
        ctx.restore();
      }] },
    },
  })), signal);
}

/** One difference with its interval, on a line through nought: {difference, low, high}. */
export function interval(holder, name, { difference, low, high }, format, signal) {
  const reach = Math.max(Math.abs(low), Math.abs(high), 1e-6) * 1.25;
  chart(holder, name, 76, () => ({
    data: [[-reach, reach], [0.5, 0.5]],
    options: {
      scales: { x: { time: false, range: [-reach, reach] }, y: { range: [0, 1] } },
      axes: [axis({ size: 26, values: (_, splits) => splits.map(format) }), { show: false }],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: { draw: [({ ctx, bbox, valToPos }) => {
        const at = (value) => valToPos(value, "x", true);
        const middle = bbox.top + bbox.height / 2;
        const cap = 7 * devicePixelRatio;
        ctx.save();
        ctx.lineWidth = 2 * devicePixelRatio;
        ctx.strokeStyle = colour("--edge");
        ctx.beginPath();
        ctx.moveTo(at(0), bbox.top);
        ctx.lineTo(at(0), bbox.top + bbox.height);
        ctx.stroke();
        ctx.strokeStyle = colour("--accent");
        ctx.fillStyle = colour("--accent");
        ctx.beginPath();
        ctx.moveTo(at(low), middle);
        ctx.lineTo(at(high), middle);
        for (const end of [low, high]) {
          ctx.moveTo(at(end), middle - cap);
          ctx.lineTo(at(end), middle + cap);
        }
        ctx.stroke();
        ctx.beginPath();
        ctx.arc(at(difference), middle, 5 * devicePixelRatio, 0, 2 * Math.PI);
        ctx.fill();
        ctx.restore();
      }] },
    },
  }), signal);
}

/** The Wilson score interval of a share (Wilson 1927): [low, high], at 95 % by default. */
export function wilson(hits, trials, z = 1.959964) {
  if (trials <= 0) return [0, 1];
  const share = Math.min(1, hits / trials);
  const middle = (share + (z * z) / (2 * trials)) / (1 + (z * z) / trials);
  const half = (z / (1 + (z * z) / trials)) * Math.sqrt((share * (1 - share)) / trials + (z * z) / (4 * trials * trials));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}
