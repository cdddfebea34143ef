// What a person would see at once in a picture, found by measuring: a page that is wider than its window, text that is cut off without
// an ellipsis, and texts that lie over each other.

/** The faults of what is shown now, each with the text that it is about. */
export function layoutFaults(page) {
  return page.evaluate(() => {
    const faults = [];
    const over = document.documentElement.scrollWidth - window.innerWidth;
    if (over > 0) faults.push(`the page is ${over} px too wide`);
    const nameOf = ({ tagName, id, classList }) => [tagName.toLowerCase() + (id && `#${id}`), ...classList].join(".");
    const styles = new Map();
    const styleOf = (element) => styles.get(element) ?? (styles.set(element, getComputedStyle(element)), styles.get(element));
    // What may be scrolled to the side is named; the page's own box may not, though it scrolls down.
    for (const box of document.querySelectorAll("body *")) {
      const { overflowX } = styleOf(box);
      if (!["auto", "scroll"].includes(overflowX) || box.matches(".scroll-x, .table-box, .tabs, pre, textarea, .drawn-route")) continue;
      if (box.scrollWidth <= box.clientWidth + 1 || box.clientWidth === 0) continue;
      const edge = box.getBoundingClientRect().left + box.clientWidth;
      const wide = [...box.querySelectorAll("*")].filter((inner) => inner.getBoundingClientRect().right > edge + 1 && !inner.closest(".scroll-x, .drawn-route"));
      faults.push(`${nameOf(box)} is ${box.scrollWidth - box.clientWidth} px too wide for ${nameOf(wide.at(-1) ?? box)}`);
    }
    const texts = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      // What is only read out, and what a browser draws by itself, is not measured.
      if (node.data.trim() === "" || element.closest(".read-only, .skip, option, textarea, noscript, script, style")) continue;
      if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true, contentVisibilityAuto: true })) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const boxes = [...range.getClientRects()].filter(({ width, height }) => width > 1 && height > 1);
      if (boxes.length > 0) texts.push({ element, boxes, words: node.data.trim().slice(0, 50) });
    }
    // 1. Cut off: a box around it hides what goes over its edge, says so by no ellipsis, and cannot be scrolled.
    for (const { element, boxes, words } of texts) {
      for (let box = element; box && box !== document.body; box = box.parentElement) {
        const { overflowX, overflowY, textOverflow, position, webkitLineClamp } = styleOf(box);
        const hides = (value) => value === "hidden" || value === "clip";
        if (textOverflow === "ellipsis" || webkitLineClamp !== "none") break;
        if (["auto", "scroll"].includes(overflowX) || ["auto", "scroll"].includes(overflowY)) break;
        if (hides(overflowX) || hides(overflowY)) {
          const edge = box.getBoundingClientRect();
          const cut = boxes.find((one) => (hides(overflowX) && (one.right > edge.right + 1.5 || one.left < edge.left - 1.5)) || (hides(overflowY) && (one.bottom > edge.bottom + 4 || one.top < edge.top - 4)));
          if (cut) faults.push(`“${words}” is cut off by ${nameOf(box)}`);
        }
        if (position === "fixed") break;
      }
    }
    // 2. Over each other: of what stands in the flow of the page. What is above it on purpose is looked at by itself.
    const isAbove = (element) => {
      for (let box = element; box && box !== document.body; box = box.parentElement) if (["fixed", "sticky", "absolute"].includes(styleOf(box).position) && !box.matches(".drawer, td, th")) return true;
      return false;
    };
    const clipped = (element, rect) => {
      let { left, top, right, bottom } = rect;
      for (let box = element; box && box !== document.body; box = box.parentElement) {
        if (styleOf(box).overflowX === "visible" && styleOf(box).overflowY === "visible") continue;
        const edge = box.getBoundingClientRect();
        [left, top, right, bottom] = [Math.max(left, edge.left), Math.max(top, edge.top), Math.min(right, edge.right), Math.min(bottom, edge.bottom)];
      }
      return { left, top, right, bottom };
    };
    const flat = texts
      .filter(({ element }) => !isAbove(element))
      .flatMap(({ element, boxes, words }) => boxes.slice(0, 20).map((rect) => ({ element, words, ...clipped(element, rect) })))
      .filter(({ left, top, right, bottom }) => right > left && bottom > top)
      .sort((a, b) => a.top - b.top);
    for (const [at, one] of flat.entries()) {
      for (let next = at + 1; next < flat.length && flat[next].top < one.bottom - 3; next += 1) {
        const other = flat[next];
        const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        const high = Math.min(one.bottom, other.bottom) - other.top;
        if (wide > 2 && high > 3 && one.element !== other.element) faults.push(`“${one.words}” lies over “${other.words}”`);
      }
    }
    return [...new Set(faults)].slice(0, 12);
  });
}
