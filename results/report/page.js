"use strict";
// The page's program. All texts of the data may come from a guest or a
// stranger: they are only ever put into text nodes and attributes that hold no
// code and no address.
(() => {
  const live = document.body.hasAttribute("data-live");
  const $ = (id) => document.getElementById(id);
  let data, kernels, trials, bisections, cases;

  // ---- elements

  // clean shows what would do something else than stand there: control codes,
  // marks that turn the direction of text.
  const clean = (text) => String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
  const make = (ns) => (tag, attrs, ...children) => {
    const e = ns ? document.createElementNS(ns, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attrs || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name === "on") for (const [type, f] of Object.entries(value)) e.addEventListener(type, f);
      else e.setAttribute(name, value === true ? "" : clean(value));
    }
    e.append(...children.flat(9).filter((c) => c !== undefined && c !== null && c !== false && c !== "").map((c) => (c instanceof Node ? c : clean(c))));
    return e;
  };
  const h = make(), svg = make("http://www.w3.org/2000/svg");
  const button = (text, f, attrs) => h("button", { type: "button", on: { click: f }, ...attrs }, text);
  const say = (text) => { $("say").textContent = ""; $("say").textContent = text; };

  // ---- words

  const title = (c) => [c.scenario, c.case === undefined ? c.name : c.case].filter(Boolean).join(" ");
  const sure = (p) => percent(Math.min(p, 0.99999));
  const kernelName = (i) => (kernels[i] ? kernels[i].release || kernels[i].ref : "no kernel");
  const judged = (t) => t.trials - t.errors;
  const percent = (x) => Number((100 * x).toPrecision(x > 0.99 && x < 1 ? 5 : 3)) + "%";
  const took = (ms) => (ms >= 60000 ? Math.floor(ms / 60000) + " min " + Math.round((ms % 60000) / 1000) + " s" : (ms / 1000).toFixed(1) + " s");
  const rateOf = (t) => (judged(t) ? t.failures / judged(t) : 0);
  const failed = (t) => !judged(t) ? "no trial with a verdict" : judged(t) === 1 ? (t.failures ? "failed" : "passed")
    : t.failures + " of " + judged(t) + " failed (" + percent(t.low) + " to " + percent(t.high) + ")";
  const letter = (v) => data.letters[v] || "?";
  const one = (n, what) => n + " " + what + (n === 1 ? "" : "s");
  const short = (c) => (/^[0-9a-f]{40,64}$/.test(c) ? c.slice(0, 12) : c);
  const kindClass = (k) => ({ "new failure": "kind-new", "another failure": "kind-new", fixed: "kind-fixed", "rate changed": "kind-rate", changed: "kind-rate" })[k] || "kind-other";
  const badge = (v) => h("span", { class: "badge v-" + v }, v);

  // ---- the view stands in the address

  const defaults = { q: "", k: "", v: "", f: "", t: "", line: "", find: "" };
  let view = { ...defaults };
  const readView = () => {
    const p = new URLSearchParams(location.hash.slice(1));
    view = { ...defaults };
    for (const name in defaults) if (p.has(name)) view[name] = p.get(name);
  };
  const hashOf = (v) => {
    const p = new URLSearchParams();
    for (const name in defaults) if (v[name]) p.set(name, v[name]);
    return "#" + p.toString();
  };
  // go changes the view; what is typed does not fill the history.
  const go = (change, replace) => {
    const hash = hashOf({ ...view, ...change });
    if (hash === location.hash || (hash === "#" && location.hash === "")) return;
    if (replace) { location.replace(hash); } else { location.hash = hash; }
  };
  const trialLink = (name, text, line, attrs) =>
    h("a", { href: hashOf({ ...view, t: name, line: line || "", find: "" }), ...attrs }, text);

  // ---- data

  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const accept = (d) => {
    data = d;
    kernels = d.kernels;
    trials = new Map(d.trials.map((t) => [t.name, t]));
    bisections = new Map(d.bisections.map((b) => [b.name, b]));
    cases = d.cases.map((c) => {
      const history = [];
      for (let i = 0; i + 9 <= c.history.length; i += 9) {
        const [night, kernel, all, failures, errors, verdict, low, high, ms] = c.history.slice(i, i + 9);
        history.push({ night: d.nights[night], kernel, trials: all, failures, errors, verdict: d.verdicts[verdict], low: low / 1000, high: high / 1000, ms });
      }
      return { ...c, points: history };
    });
    fillChoices();
  };
  const fillChoices = () => {
    const option = (value, text) => h("option", { value }, text);
    $("k").replaceChildren(option("", "All kernels"), ...[...new Set(kernels.map((_, i) => kernelName(i)))].map((n) => option(n, n)));
    const seen = new Set();
    for (const c of cases) for (const cell of c.cells) seen.add(cell.verdict);
    $("v").replaceChildren(option("", "All verdicts"), ...ordered(seen).map((v) => option(v, letter(v) + " · " + v)));
  };
  const ordered = (seen) => data.verdicts.filter((v) => seen.has(v));

  // ---- what a view shows

  const kernelShown = (i) => !view.k || kernelName(i) === view.k;
  const found = (...texts) => {
    const words = view.q.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return true;
    const all = texts.join(" ").toLowerCase();
    return words.every((w) => all.includes(w));
  };
  const cellShown = (c) => kernelShown(c.kernel) && (!view.v || c.verdict === view.v) && (!view.f || c.failures > 0);
  const caseShown = (c) => c.cells.some(cellShown) && found(title(c), ...c.cells.flatMap((x) => {
    const t = trials.get(x.trial);
    return t ? [kernelName(x.kernel), t.reason, t.signature] : [kernelName(x.kernel)];
  }));
  const changeShown = (c) => {
    const b = bisections.get(c.bisection);
    return kernelShown(c.after.kernel) && (!view.v || c.after.verdict === view.v || c.before.verdict === view.v) && (!view.f || c.after.failures > 0) &&
      found(title(c), c.kind, kernelName(c.after.kernel), c.after.signature, c.after.said, b && b.first ? b.first.hash + " " + (b.first.title || "") : "");
  };

  // part is a section; what is long is shown bit by bit.
  const part = (id, name, about, ...body) => h("section", { id, "aria-labelledby": id + "-h" }, h("header", {}, h("h2", { id: id + "-h" }, name), about && h("p", {}, about)), ...body);
  const none = (text) => h("p", { class: "none" }, text);
  const bit = (list, size, put, what) => {
    let at = 0;
    const more = button("", () => next(), { class: "more" });
    const next = () => {
      put(list.slice(at, at + size));
      at = Math.min(list.length, at + size);
      more.textContent = "Show " + Math.min(size, list.length - at) + " more of " + (list.length - at) + " " + what;
      more.hidden = at >= list.length;
    };
    next();
    return more;
  };

  // ---- what changed

  const side = (s) => s.kernel < 0 || !s.trials
    ? h("div", {}, h("span", { class: "quiet" }, "not run"))
    : h("div", {}, badge(s.verdict), " ", s.said || "", h("small", {}, failed(s)), h("small", {}, kernelName(s.kernel), s.night ? " · " + s.night : ""));

  const changeCard = (c) => {
    const of = cases.find((x) => x.scenario === c.scenario && x.name === c.case);
    const stream = kernels[c.after.kernel] && kernels[c.after.kernel].stream;
    const points = of ? of.points.filter((p) => kernels[p.kernel].stream === stream) : [];
    const t = trials.get(c.trial), b = bisections.get(c.bisection);
    return h("li", { class: "card change " + (c.known ? "kind-other" : kindClass(c.kind)) },
      h("div", { class: "head" }, h("span", { class: "badge" }, c.known ? "known: " + c.kind : c.kind),
        c.probability ? h("span", { class: "quiet" }, sure(c.probability) + " sure") : null),
      h("h3", {}, title(c)),
      h("div", { class: "flip" }, side(c.before), h("span", { "aria-label": "then" }, "→"), side(c.after)),
      points.length > 1 && strip(points),
      c.why && h("p", { class: "quiet" }, c.why),
      t && c.after.failures > 0 && h("p", {}, t.reason),
      t && t.first && h("p", {}, h("strong", {}, "Failed first: "), t.first.who),
      b && h("p", {}, h("strong", {}, b.of === "commits" ? "Since commit " : "Since "), b.first ? [h("span", { class: "mono" }, short(b.first.hash)), b.first.title && b.first.title !== b.first.hash ? " (" + b.first.title + ")" : "", ", ", b.grade] : "not found yet"),
      c.elsewhere && c.elsewhere.length > 0 && h("p", {}, h("strong", {}, "Elsewhere: "), c.elsewhere.join("; ")),
      c.known && h("p", {}, [c.known.note, c.known.link].filter(Boolean).join(" · ")),
      h("div", { class: "actions" }, t && trialLink(c.trial, "See the trial"), t && t.commands.length > 0 && copyButton("Copy the command", t.commands[0].line)));
  };
  const changesPart = () => {
    const shown = data.changes.filter(changeShown);
    const list = h("ul", { class: "changes" });
    const more = bit(shown, 40, (some) => list.append(...some.map(changeCard)), "changes");
    return part("changes", "What changed", shown.length < data.changes.length ? shown.length + " of " + data.changes.length : null,
      shown.length ? [list, more] : none(data.changes.length ? "None of the " + one(data.changes.length, "change") + " fits the filters." : "Nothing changed: every case ended as it did before, or ran for the first time."));
  };

  // ---- kernels × cases

  const cellButton = (c, cell) => {
    const p = Math.round(100 * rateOf(cell)), mixed = cell.failures > 0 && cell.failures < judged(cell);
    const label = title(c) + " on " + kernelName(cell.kernel) + ": " + cell.verdict + ", " + failed(cell);
    const b = button(letter(cell.verdict), () => go({ t: cell.trial }), {
      class: "cell v-" + cell.verdict, title: label, "aria-label": label, tabindex: "-1", disabled: !cell.trial,
    });
    if (mixed) b.style.background = "linear-gradient(to top, var(--tint) " + p + "%, var(--pass-tint) " + p + "%)";
    return b;
  };
  const mostColumns = 40;
  const gridPart = () => {
    const shown = cases.filter(caseShown);
    let columns = [...kernels.keys()].filter((i) => kernelShown(i));
    if (view.f || view.v || view.q) {
      const used = new Set(shown.flatMap((c) => c.cells.map((x) => x.kernel)));
      columns = columns.filter((i) => used.has(i));
    }
    const left = Math.max(0, columns.length - mostColumns);
    columns = columns.slice(left);
    const body = h("tbody", {});
    let group = "";
    const put = (some) => some.forEach((c) => {
      if (c.scenario !== group && c.name) body.append(h("tr", { class: "group" }, h("th", { scope: "colgroup", colspan: columns.length + 1 }, c.scenario)));
      group = c.scenario;
      const by = new Map(c.cells.map((x) => [x.kernel, x]));
      body.append(h("tr", {}, h("th", { scope: "row" }, c.name ? c.name.split(",").map((x, i) => [i ? [",", h("wbr")] : null, x]) : c.scenario),
        columns.map((k) => h("td", {}, by.has(k) ? (cellShown(by.get(k)) ? cellButton(c, by.get(k)) : h("span", { class: "quiet", "aria-label": "filtered out" }, "·")) : null))));
    });
    const more = bit(shown, 150, put, "cases");
    const table = h("table", { class: "grid", on: { keydown: walk } },
      h("caption", { class: "visually-hidden" }, "Verdicts of each case on each kernel. Arrow keys walk, Enter opens."),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "case"), columns.map((k) => h("th", { scope: "col", class: "k", title: kernels[k].ref }, h("span", {}, kernelName(k)))))), body);
    const first = table.querySelector(".cell:not(:disabled)");
    if (first) first.tabIndex = 0;
    const seen = new Set(shown.flatMap((c) => c.cells.map((x) => x.verdict)));
    return part("grid", "Kernels and cases", one(shown.length, "case") + " on " + one(columns.length, "kernel") + (left ? ", " + left + " older kernels left out: choose one above" : ""),
      shown.length ? [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Kernels and cases" }, table), more,
        h("ul", { class: "legend" }, ordered(seen).map((v) => h("li", {}, h("b", { class: "v-" + v }, letter(v)), v)), h("li", {}, "a part filled: failed in that part of the trials"))] : none("No case fits the filters."));
  };
  // walk moves between cells with the arrow keys.
  const walk = (e) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
    if (!step || !e.target.classList.contains("cell")) return;
    e.preventDefault();
    const td = e.target.closest("td"), rows = [...td.closest("tbody").rows].filter((r) => !r.classList.contains("group"));
    let r = rows.indexOf(td.parentNode), c = td.cellIndex;
    for (;;) {
      r += step[0]; c += step[1];
      const next = rows[r] && rows[r].cells[c];
      if (!next || c < 1) return;
      const b = next.querySelector(".cell:not(:disabled)");
      if (b) { e.target.tabIndex = -1; b.tabIndex = 0; b.focus(); return; }
    }
  };

  // ---- history

  const mostNights = 90;
  // strip draws nights: how often the case failed, from 0 at the bottom, and
  // the interval that holds the rate.
  const strip = (all) => {
    const points = all.slice(-mostNights), w = 8, H = 40, n = Math.max(points.length, 12);
    const marks = points.map((p) => !judged(p) ? "?" : !p.failures ? "." : p.failures < judged(p) ? letter(p.verdict).toLowerCase() : letter(p.verdict)).join("");
    const y = (rate) => 2 + (H - 4) * (1 - rate);
    const e = svg("svg", { class: "strip", viewBox: "0 0 " + n * w + " 46", preserveAspectRatio: points.length < 12 ? "xMinYMid meet" : "none", role: "img", "aria-label": one(points.length, "night") + ", " + points[0].night + " to " + points[points.length - 1].night + ": " + marks });
    e.append(svg("line", { class: "base", x1: 0, x2: points.length * w, y1: H - 1.5, y2: H - 1.5 }));
    points.forEach((p, i) => {
      const g = svg("g", { class: "v-" + p.verdict }, svg("title", {}, p.night + ", " + kernelName(p.kernel) + ": " + p.verdict + ", " + failed(p) + ", " + took(p.ms) + " each"));
      const x = i * w;
      g.append(svg("rect", { class: "bed", x: x + 0.5, y: 2, width: w - 1, height: H - 4, rx: 1 }));
      if (judged(p)) {
        const rate = rateOf(p);
        if (rate > 0) g.append(svg("rect", { class: "rate", x: x + 0.5, y: y(rate), width: w - 1, height: Math.max(1.5, H - 2 - y(rate)), rx: 1 }));
        else g.append(svg("rect", { class: "ok", x: x + 0.5, y: H - 5, width: w - 1, height: 3, rx: 1 }));
        if (judged(p) > 1) g.append(svg("line", { class: "range", x1: x + w / 2, x2: x + w / 2, y1: y(p.high), y2: y(p.low) }));
      }
      if (i && points[i - 1].kernel !== p.kernel) g.append(svg("rect", { x: x - 0.6, y: H, width: 1.2, height: 5, fill: "currentColor" }));
      e.append(g);
    });
    return e;
  };
  const spark = (points) => {
    const p = points.slice(-mostNights).filter((x) => x.ms > 0);
    if (p.length < 2) return h("span", { class: "quiet" }, p.length ? took(p[0].ms) : "");
    const top = Math.max(...p.map((x) => x.ms));
    return h("div", {}, svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": "seconds for a trial, from " + took(p[0].ms) + " to " + took(p[p.length - 1].ms) + ", at most " + took(top) },
      svg("polyline", { points: p.map((x, i) => (100 * i) / (p.length - 1) + "," + (28 - (26 * x.ms) / top)).join(" ") })), h("small", {}, "now ", took(p[p.length - 1].ms), ", at most ", took(top)));
  };
  const historyPart = () => {
    const rows = [];
    for (const c of cases.filter(caseShown)) {
      const by = new Map();
      for (const p of c.points) {
        if (!kernelShown(p.kernel)) continue;
        const stream = kernels[p.kernel].stream;
        if (!by.has(stream)) by.set(stream, []);
        by.get(stream).push(p);
      }
      for (const [stream, points] of by) rows.push({ c, stream, points });
    }
    // What failed last comes first, then what ever failed.
    const weight = (r) => (r.points[r.points.length - 1].failures ? 0 : r.points.some((p) => p.failures) ? 1 : 2);
    rows.sort((a, b) => weight(a) - weight(b));
    const list = h("ul", { class: "rows" });
    const row = ({ c, stream, points }) => {
      const last = points[points.length - 1];
      return h("li", {}, h("div", { class: "name" }, title(c), h("small", {}, stream)),
        h("div", { class: "s" }, strip(points), h("small", {}, points[0].night === last.night ? last.night : points[Math.max(0, points.length - mostNights)].night + " to " + last.night)),
        h("div", { class: "num" }, badge(last.verdict), h("small", {}, failed(last))), h("div", { class: "num" }, spark(points)));
    };
    const more = bit(rows, 24, (some) => list.append(...some.map(row)), "histories");
    return part("history", "Night by night", "how often a case failed, with the interval that holds the rate with 95% confidence; a tick below is another kernel; to the right, how long a trial took",
      rows.length ? [list, more] : none("No case fits the filters."));
  };

  // ---- bisections

  // ladder draws the steps: what was left after each, about: a step halves.
  const ladder = (b) => {
    const W = 640, H = 22, steps = b.steps.filter((s) => !s.end), top = 26;
    const e = svg("svg", { class: "steps", viewBox: "0 0 " + W + " " + (top + H * steps.length + 26), role: "img", "aria-label": one(steps.length, "step") + " from " + short(b.old) + " to " + short(b.new) });
    let lo = 0, hi = 1;
    const X = (x) => 10 + 330 * x;
    e.append(svg("text", { x: X(0), y: 14 }, short(b.old)), svg("text", { x: X(1), y: 14, "text-anchor": "end" }, short(b.new)));
    const newer = (s) => s.mark === "new";
    steps.forEach((s, i) => {
      const y = top + i * H, mid = s.mark === "skip" ? (lo + hi) / 2 + (hi - lo) * 0.12 : (lo + hi) / 2;
      e.append(svg("line", { class: "rail", x1: X(0), x2: X(1), y1: y + H / 2, y2: y + H / 2 }),
        svg("rect", { class: "left", x: X(lo), y: y + 5, width: Math.max(2, X(hi) - X(lo)), height: H - 10, rx: 5 }));
      const v = s.mark === "skip" ? "v-error" : s.fails ? "v-hang" : "v-pass";
      e.append(svg("g", { class: v }, svg("circle", { class: "dot", cx: X(mid), cy: y + H / 2, r: 5.5 })),
        svg("text", { class: "label", x: X(1) + 16, y: y + H / 2 + 4 }, short(s.release || s.commit).slice(0, 26)),
        svg("text", { x: W - 10, y: y + H / 2 + 4, "text-anchor": "end" }, s.mark === "skip" ? "skipped" : s.hits + " of " + s.runs + " failed"));
      if (newer(s)) hi = mid; else if (s.mark === "old") lo = mid;
    });
    if (b.first) e.append(svg("line", { class: "cut", x1: X(hi), x2: X(hi), y1: top, y2: top + H * steps.length + 8 }), svg("text", { class: "label", x: X(hi) + 6, y: top + H * steps.length + 16 }, short(b.first.hash)));
    return e;
  };
  const bisectionsPart = () => {
    const shown = data.bisections.filter((b) => found(title(b), b.old, b.new, b.first ? b.first.hash + " " + (b.first.title || "") : ""));
    if (!data.bisections.length) return null;
    return part("bisections", "Bisections", null, shown.length ? shown.map((b) => h("article", { class: "card bisection" },
      h("div", { class: "head" }, h("h3", {}, title(b)), h("p", { class: "quiet" }, b.of, " from ", short(b.old), " to ", short(b.new), " · ", one(b.trials, "trial"))),
      h("p", {}, b.first ? [h("strong", {}, b.direction === "fix" ? "Fixed by " : "Since "), h("span", { class: "mono" }, short(b.first.hash)), b.first.title && b.first.title !== b.first.hash ? " (" + b.first.title + ")" : "", b.first.author ? ", " + b.first.author : "", " ", h("span", { class: "badge " + (b.grade === "proven" ? "v-pass" : b.grade === "likely" ? "v-degraded" : "v-error") }, b.grade)]
        : b.state === "running" ? "Under way." : "No answer."),
      b.why.length > 0 && h("p", { class: "quiet" }, b.why.join("; ")),
      b.steps.length > 0 && h("div", { class: "x", tabindex: "0", role: "region", "aria-label": "steps" }, ladder(b)),
      b.checks.length > 0 && h("ul", { class: "checks" }, b.checks.map((c) => h("li", {}, h("b", {}, c.result), c.name, c.why ? h("span", { class: "quiet" }, " (" + c.why + ")") : null))),
      b.text && h("details", {}, h("summary", {}, "The report to send"), h("pre", { class: "text" }, b.text)))) : none("No bisection fits the filters."));
  };

  // ---- runs

  const runsPart = () => {
    const body = h("tbody", {});
    const list = [...data.runs].reverse();
    const more = bit(list, 30, (some) => body.append(...some.map((r) => h("tr", {}, h("th", { scope: "row", class: "mono" }, r.id), h("td", {}, r.trials + (r.asked > r.trials ? " of " + r.asked : "")), h("td", {}, r.failures), h("td", {}, r.errors),
      h("td", {}, r.finished ? took(Date.parse(r.finished) - Date.parse(r.started)) : "under way or ended early"), h("td", { class: "mono" }, r.command)))), "runs");
    return part("runs", "Runs", null, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" }, h("table", {}, h("caption", { class: "visually-hidden" }, "Runs, the last one first"),
      h("thead", {}, h("tr", {}, ["run", "trials", "failed", "no verdict", "took", "command"].map((n) => h("th", { scope: "col" }, n)))), body)), more);
  };

  // ---- workers of a hub

  const workersPart = () => {
    if (!data.workers.length) return null;
    const body = h("tbody", {});
    const more = bit(data.workers, 100, (some) => body.append(...some.map((w) => {
      const ms = Date.parse(w.last) - Date.parse(w.first);
      return h("tr", {}, h("th", { scope: "row" }, w.name), h("td", {}, w.trials), h("td", {}, w.failures), h("td", {}, w.errors), h("td", {}, w.made_again),
        h("td", {}, (ms > 0 ? w.took_ms / ms : 0).toFixed(1)), h("td", {}, took(w.took_ms / Math.max(1, w.trials))), h("td", {}, took(w.wait_ms) + ", at most " + took(w.most_wait_ms)), h("td", {}, w.cpu || ""));
    })), "workers");
    return part("workers", "Workers", "who made the trials, and how long those waited until a worker took them", h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Workers" }, h("table", {}, h("caption", { class: "visually-hidden" }, "Workers of a hub"),
      h("thead", {}, h("tr", {}, ["worker", "trials", "failed", "no verdict", "tried again", "at a time", "one took", "waited", "processor"].map((n) => h("th", { scope: "col" }, n)))), body)), more);
  };

  // ---- one trial

  // copyButton copies a text, or what a function gives.
  const copyButton = (text, of) => button(text, async (e) => {
    const what = typeof of === "function" ? of() : of;
    try { await navigator.clipboard.writeText(what); } catch {
      const area = h("textarea", { class: "visually-hidden" });
      area.value = what; document.body.append(area); area.select(); document.execCommand("copy"); area.remove(); e.target.focus();
    }
    const old = e.target.textContent;
    e.target.textContent = "Copied"; say("Copied");
    setTimeout(() => { e.target.textContent = old; }, 1200);
  });
  const fact = (name, value) => (value === "" || value === undefined || value === null ? null : h("div", {}, h("dt", {}, name), h("dd", {}, value)));

  const timeline = (events) => {
    const lanes = ["host", "guest", "kernel"].filter((n) => events.some((e) => e.from === n));
    const W = 900, last = Math.max(1, ...events.map((e) => e.ms)), X = (ms) => 60 + (W - 80) * (ms / last), top = 8, H = 26;
    const e = svg("svg", { class: "time", viewBox: "0 0 " + W + " " + (top + lanes.length * H + 22), role: "img", "aria-label": "Events over " + took(last) + "; they are listed below" });
    lanes.forEach((n, i) => e.append(svg("text", { x: 0, y: top + i * H + H / 2 + 4 }, n), svg("line", { class: "lane", x1: 60, x2: W - 20, y1: top + i * H + H / 2, y2: top + i * H + H / 2 })));
    for (let i = 0; i <= 4; i++) e.append(svg("text", { x: X((last * i) / 4), y: top + lanes.length * H + 14, "text-anchor": i === 4 ? "end" : i ? "middle" : "start" }, took((last * i) / 4)));
    events.forEach((ev, i) => {
      const lane = Math.max(0, lanes.indexOf(ev.from));
      e.append(svg("g", {}, svg("title", {}, took(ev.ms) + " " + ev.from + ": " + ev.what), svg("circle", { class: lanes[lane], cx: X(ev.ms), cy: top + lane * H + H / 2, r: 7 }), svg("text", { class: "no", x: X(ev.ms), y: top + lane * H + H / 2 + 3 }, i + 1)));
    });
    return e;
  };
  const trialPage = (t) => {
    const box = h("div", {});
    const console_ = consoleOf(t, box);
    return h("article", { class: "trial" },
      h("div", {}, button("← All results", () => go({ t: "", line: "", find: "" }), { id: "back" })),
      h("div", { class: "head v-" + t.verdict }, badge(t.verdict), h("h2", { id: "trial-h", tabindex: "-1" }, title(t)), h("span", { class: "quiet" }, "on ", kernelName(t.kernel))),
      h("p", { class: "reason" }, t.reason || "It did what the scenario expects."),
      t.first && h("div", { class: "card first" }, h("h3", {}, "Failed first"), h("p", {}, t.first.who), t.first.answers && h("ol", { class: "mono answers" }, t.first.answers.map((x) => h("li", {}, x)))),
      h("div", { class: "card" }, h("dl", { class: "dl" },
        fact("The step said", t.outcome), fact("Also", t.also.join(", ")), fact("Legs", t.legs.map((l) => l.name + " (disk " + l.disk + ") " + l.health).join(", ")),
        fact("Kernel", kernels[t.kernel] ? kernels[t.kernel].ref : ""), fact("Machine", [t.accel, t.cpus ? t.cpus + " CPU" : "", t.warm ? "from a saved machine" : "from power-on"].filter(Boolean).join(", ")),
        fact("Took", took(t.trial_ms) + (t.guest_ms ? ", " + took(t.guest_ms) + " of guest time since its boot" : "")), fact("Started", t.started.replace("T", " ").replace(/\..*|Z$/, "") + " UTC"), fact("Trial", h("span", { class: "mono" }, t.name)),
        fact("Before", t.attempts.slice(0, -1).map((a) => a.verdict + ": " + a.reason).join("; ")), fact("Signature", t.signature), fact("Folder", t.folder ? h("span", { class: "mono" }, t.folder) : "not kept: one with the same signature is"))),
      t.commands.length > 0 && h("div", { class: "card" }, h("h3", {}, "See it again"), t.commands.map((c) => h("div", { class: "cmd" }, h("div", {}, h("small", {}, c.does), h("code", {}, c.line)), copyButton("Copy", c.line)))),
      h("div", { class: "card" }, h("h3", {}, "Findings"), t.findings.length ? h("ul", { class: "findings" }, t.findings.map((f) => h("li", { class: "k-" + f.kind },
        h("div", { class: "row" }, h("div", {}, h("b", {}, f.title), h("div", { class: "quiet" }, f.kind, f.place ? " · " + f.place : "")), t.console && button("Line " + f.line, () => { go({ line: String(f.line) }, true); console_.show(f.line); }, { "aria-label": "Show line " + f.line + " of the console" })),
        f.trace && f.trace.length > 0 && h("details", { open: f.trace.length <= 12 }, h("summary", {}, "Trace, " + one(f.trace.length, "function")), h("ol", { class: "mono" }, f.trace.map((x) => h("li", {}, x))))))) : h("p", { class: "quiet" }, "The console shows nothing that counts.")),
      t.events.length > 0 && h("div", { class: "card" }, h("h3", {}, "What guest, host and kernel said"), h("div", { class: "x", tabindex: "0", role: "region", "aria-label": "Time line" }, timeline(t.events.slice(0, 60))), h("ol", { class: "events" }, t.events.map((e, i) => h("li", {}, h("span", { class: "quiet" }, i + 1), h("span", { class: "ms" }, took(e.ms)), h("span", { class: "who" }, e.from), h("span", {}, e.what))))),
      box);
  };

  // ---- a console of any length: only the lines in sight are in the page

  const lineHeight = 18;
  const consoleOf = (t, box) => {
    let view_ = null, wanted = 0;
    const open = async () => {
      if (view_) return view_;
      const text = await consoleText(t);
      view_ = consoleView(t, text);
      place.replaceChildren(view_.element);
      view_.ready();
      return view_;
    };
    const place = h("div", {}, h("p", { class: "quiet" }, "Reading…"));
    const fold = h("details", { id: "console" }, h("summary", {}, h("strong", {}, "Console"), t.console ? ", " + one(t.console.lines, "line") : ""), place);
    fold.addEventListener("toggle", async () => {
      if (!fold.open) return;
      const v = await open();
      if (wanted) { v.show(wanted); wanted = 0; }
    });
    if (!t.console) box.append(h("div", { class: "card" }, h("p", { class: "quiet" }, t.folder ? "The console is not in this page: see console.log in the trial's folder." : "The console was not kept.")));
    else box.append(h("div", { class: "card" }, fold));
    const show = async (line) => {
      if (!t.console) return;
      wanted = line;
      if (!fold.open) { fold.open = true; } else { const v = await open(); v.show(line); wanted = 0; }
    };
    if (t.console && (view.line || view.find)) queueMicrotask(() => show(Number(view.line) || 0));
    if (t.console && view.find) fold.open = true;
    return { show };
  };
  const consoleText = async (t) => {
    for (const e of document.querySelectorAll("script[data-console]")) if (e.dataset.console === t.name) return unpack(e.textContent);
    const answer = await fetch("console?trial=" + encodeURIComponent(t.name));
    if (!answer.ok) return "The console can't be read.";
    return answer.text();
  };
  const consoleView = (t, text) => {
    const lines = text.split("\n");
    if (lines[lines.length - 1] === "") lines.pop();
    const number = new Uint32Array(lines.length);
    let n = 0;
    for (const [first, count] of t.console.parts) for (let i = 0; i < count && n < lines.length; i++) number[n++] = first + i;
    const marked = new Map();
    for (const f of t.findings) for (let l = f.line; l <= Math.max(f.line, Math.min(f.last_line || 0, f.line + 400)); l++) if (!marked.has(l)) marked.set(l, f.kind);
    let start = lines.findIndex((l) => l.includes("blockrig: guest:"));
    const firstFinding = t.findings.length ? Math.min(...t.findings.map((f) => f.line)) : Infinity;
    let boot = 0; // lines that are folded
    if (start > 20) boot = Math.min(start, lines.length);
    while (boot > 0 && number[boot - 1] >= firstFinding) boot = 0;
    let folded = boot > 0, hits = [], at = -1, current = 0, needle = "";
    const all = h("div", { class: "all" });
    const box = h("div", { class: "console", tabindex: "0", role: "region", "aria-label": "Console of " + title(t) }, all);
    // rows: with the boot folded, row 0 stands for it.
    const count = () => (folded ? lines.length - boot + 1 : lines.length);
    const lineOf = (row) => (folded ? row + boot - 1 : row);
    const rowOf = (i) => (folded ? i - boot + 1 : i);
    const content = (s) => {
      if (!needle) return [s];
      const out = [], low = s.toLowerCase();
      let from = 0;
      for (let i = low.indexOf(needle); i >= 0; i = low.indexOf(needle, from)) {
        out.push(s.slice(from, i), h("mark", {}, s.slice(i, i + needle.length)));
        from = i + needle.length;
      }
      return [...out, s.slice(from)];
    };
    const put = (e, row) => { e.style.top = row * lineHeight + "px"; return e; };
    const draw = () => {
      const first = Math.max(0, Math.floor(box.scrollTop / lineHeight) - 20), last = Math.min(count(), first + Math.ceil(box.clientHeight / lineHeight) + 40);
      const some = [];
      for (let row = first; row < last; row++) {
        if (folded && row === 0) {
          some.push(put(h("div", { class: "l fold" }, h("i", {}, "…"), one(boot, "line") + " of the boot are folded"), 0));
          continue;
        }
        const i = lineOf(row), kind = marked.get(number[i]);
        const gap = i > 0 && number[i] !== number[i - 1] + 1;
        some.push(put(h("div", { class: "l" + (kind ? " in k-" + kind : "") + (i === current ? " at" : "") }, h("i", { title: gap ? "lines before it are left out" : undefined }, (gap ? "⋮ " : "") + number[i]), content(lines[i])), row));
      }
      all.replaceChildren(...some);
    };
    const layout = () => { all.style.height = count() * lineHeight + "px"; draw(); };
    let waiting = false;
    box.addEventListener("scroll", () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } });
    const goTo = (i) => {
      if (folded && i < boot) { folded = false; toggle.textContent = "Fold the boot"; all.style.height = count() * lineHeight + "px"; }
      current = i;
      box.scrollTop = Math.max(0, (rowOf(i) - 6) * lineHeight);
      draw();
    };
    const show = (line) => {
      if (!line) return;
      let i = number.indexOf(line);
      if (i < 0) i = number.findIndex((x) => x >= line);
      if (i >= 0) { goTo(i); box.scrollIntoView({ block: "nearest" }); }
    };
    const state = h("span", { class: "quiet", role: "status" });
    const search = () => {
      needle = input.value.toLowerCase();
      hits = []; at = -1;
      if (needle) for (let i = 0; i < lines.length; i++) if (lines[i].toLowerCase().includes(needle)) hits.push(i);
      state.textContent = needle ? one(hits.length, "line") : "";
      go({ find: input.value, line: "" }, true);
      if (hits.length) step(1); else draw();
    };
    const step = (by) => {
      if (!hits.length) return;
      at = (at + by + hits.length) % hits.length;
      state.textContent = at + 1 + " of " + one(hits.length, "line");
      goTo(hits[at]);
    };
    let timer = 0;
    const input = h("input", { type: "search", "aria-label": "Find in the console", placeholder: "Find in the console", spellcheck: "false", on: {
      input: () => { clearTimeout(timer); timer = setTimeout(search, 150); },
      keydown: (e) => { if (e.key === "Enter") { e.preventDefault(); step(e.shiftKey ? -1 : 1); } },
    } });
    const jump = (by) => {
      const places = [...new Set(t.findings.map((f) => number.indexOf(f.line)).filter((i) => i >= 0))].sort((a, b) => a - b);
      const next = by > 0 ? places.find((i) => i > current) ?? places[0] : [...places].reverse().find((i) => i < current) ?? places[places.length - 1];
      if (next !== undefined) goTo(next);
    };
    const toggle = button("Unfold the boot", () => { folded = !folded; toggle.textContent = folded ? "Unfold the boot" : "Fold the boot"; box.scrollTop = 0; layout(); });
    const element = h("div", {}, h("div", { class: "tools" }, input, button("Previous", () => step(-1)), button("Next", () => step(1)), state,
      t.findings.length > 0 && [button("Previous finding", () => jump(-1)), button("Next finding", () => jump(1))], boot > 0 && toggle), box);
    const ready = () => {
      layout();
      if (view.find) { input.value = view.find; search(); } else if (!view.line && t.findings.length) show(t.findings[0].line);
    };
    window.addEventListener("beforeprint", () => { if (box.isConnected) printLines(all, lines, number, marked); });
    window.addEventListener("afterprint", () => { if (box.isConnected) layout(); });
    return { element, show, ready };
  };
  // printLines puts the lines around findings onto paper.
  const printLines = (all, lines, number, marked) => {
    const out = [];
    let before = 0;
    for (let i = 0; i < lines.length && out.length < 600; i++) {
      let near = false;
      for (let d = -8; d <= 8 && !near; d++) near = marked.has(number[i] + d);
      if (!near) continue;
      if (before && number[i] !== before + 1) out.push(h("div", { class: "l" }, "⋮"));
      before = number[i];
      out.push(h("div", { class: "l" + (marked.has(number[i]) ? " in k-" + marked.get(number[i]) : "") }, h("i", {}, number[i]), lines[i]));
    }
    all.replaceChildren(...out);
  };

  // ---- all of it

  let shownTrial = null;
  const render = () => {
    for (const name of ["q", "k", "v"]) if ($(name).value !== view[name] && document.activeElement !== $(name)) $(name).value = view[name];
    $("f").checked = !!view.f;
    $("clear").hidden = !(view.q || view.k || view.v || view.f);
    const t = trials.get(view.t);
    document.querySelector(".top").hidden = !!view.t;
    document.querySelector(".bar").hidden = !!view.t;
    if (view.t) {
      if (shownTrial === view.t) return;
      shownTrial = view.t;
      $("main").replaceChildren(t ? trialPage(t) : h("div", {}, none("This report does not tell of trial " + view.t + "."), button("← All results", () => go({ t: "" }))));
      window.scrollTo(0, 0);
      const head = $("trial-h");
      if (head) head.focus({ preventScroll: true });
      return;
    }
    const back = shownTrial;
    shownTrial = null;
    const all = [changesPart(), gridPart(), historyPart(), bisectionsPart(), runsPart(), workersPart()].filter(Boolean);
    $("main").replaceChildren(...all);
    parts(all);
    if (back) window.scrollTo(0, place);
    say(one(cases.filter(caseShown).length, "case") + " shown");
  };
  let place = 0;
  const parts = (all) => {
    $("parts").replaceChildren(...all.map((s) => h("li", {}, button([s.querySelector("h2").textContent, s.id === "changes" && data.changes.length ? h("span", { class: "n" }, data.changes.length) : null], () => { s.scrollIntoView(); s.querySelector("h2").setAttribute("tabindex", "-1"); s.querySelector("h2").focus({ preventScroll: true }); }))));
  };
  const start = async () => {
    accept(JSON.parse(await unpack($("data").textContent)));
    readView();
    $("app").hidden = false;
    let timer = 0;
    $("q").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => go({ q: $("q").value }, true), 120); });
    for (const name of ["k", "v"]) $(name).addEventListener("change", () => go({ [name]: $(name).value }));
    $("f").addEventListener("change", () => go({ f: $("f").checked ? "1" : "" }));
    $("clear").addEventListener("click", () => { go({ q: "", k: "", v: "", f: "" }); $("q").focus(); });
    $("filters").addEventListener("submit", (e) => e.preventDefault());
    $("link").replaceWith(copyButton("Copy link", () => location.href));
    $("skip").addEventListener("click", (e) => { e.preventDefault(); $("main").focus(); });
    $("home").addEventListener("click", (e) => { e.preventDefault(); go(defaults); });
    window.addEventListener("scroll", () => { if (!shownTrial) place = window.scrollY; }, { passive: true });
    window.addEventListener("hashchange", () => { readView(); render(); });
    document.addEventListener("keydown", (e) => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName);
      if (e.key === "Escape" && view.t && !typing) go({ t: "", line: "", find: "" });
      if (e.key === "/" && !typing && !view.t) { e.preventDefault(); $("q").focus(); }
    });
    render();
    if (live) follow();
  };

  // follow takes what changed while the page is open.
  const follow = () => {
    const source = new EventSource("events");
    const note = (text) => { $("live").textContent = text; };
    source.addEventListener("open", () => note("live"));
    source.addEventListener("error", () => note("not connected"));
    source.addEventListener("changed", async () => {
      const answer = await fetch("data");
      if (!answer.ok) return;
      accept(await answer.json());
      document.querySelector(".headline").textContent = data.headline;
      if (!view.t) render();
      note("live, " + new Date().toLocaleTimeString());
    });
  };
  start();
})();
