// Turns the current elements into the new ones and leaves equal ones alone: scroll position, focus, open details and
// selection stay.
const ELEMENT = 1;

const keyOf = (node) => (node.nodeType === ELEMENT ? node.id || node.dataset?.key || null : null);

function attributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) === value || (name === "open" && from.nodeName === "DETAILS")) continue;
    from.setAttribute(name, value);
  }
}

function match(cursor, wanted, keyed) {
  const key = keyOf(wanted);
  if (key !== null) {
    const found = keyed.get(key);
    keyed.delete(key);
    return found?.nodeName === wanted.nodeName ? found : null;
  }
  for (let node = cursor; node; node = node.nextSibling) {
    if (keyOf(node) === null && node.nodeName === wanted.nodeName) return node;
  }
  return null;
}

function children(from, to) {
  const keyed = new Map([...from.children].map((child) => [keyOf(child), child]).filter(([key]) => key !== null));
  let cursor = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const found = match(cursor, wanted, keyed);
    if (found === null) {
      from.insertBefore(wanted, cursor);
      continue;
    }
    if (found === cursor) cursor = cursor.nextSibling;
    else from.insertBefore(found, cursor);
    morph(found, wanted);
  }
  while (cursor) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

export function morph(from, to) {
  if (from.nodeType !== ELEMENT) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  attributes(from, to);
  children(from, to);
}

export function morphKeepingFocus(from, to) {
  const focused = document.activeElement;
  morph(from, to);
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}
