// Guides open over the page, and a link to this moment is copied. Without this, guides are pages of their own.
const dialog = document.getElementById("guide");
const text = document.getElementById("guide-text");

document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[data-guide]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const response = await fetch(`/guides/${encodeURIComponent(link.dataset.guide)}/fragment`);
    if (!response.ok) throw new Error(response.statusText);
    const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
    text.replaceChildren(...parsed.body.childNodes);
    dialog.setAttribute("aria-label", text.querySelector("h1")?.textContent ?? "Guide");
    dialog.showModal();
    text.scrollTop = 0;
    text.focus();
  } catch { location.assign(link.getAttribute("href")); }
});

for (const shown of document.querySelectorAll("dialog")) {
  shown.addEventListener("click", (event) => { if (event.target === shown) shown.close(); });
}

async function copied(words) {
  if (navigator.clipboard) {
    try { await navigator.clipboard.writeText(words); return true; } catch { /* not allowed: the old way */ }
  }
  const field = document.createElement("textarea");
  field.value = words;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const link = new URL(button.dataset.copy, location.href).href;
  const said = (await copied(link)) ? "Link copied" : link;
  const before = button.textContent;
  button.textContent = said;
  document.getElementById("announcer").textContent = said;
  setTimeout(() => { if (button.textContent === said) button.textContent = before; }, 2_500);
});
