// Opens runbooks over the page and copies a link to this moment. Without JavaScript, runbooks are pages of their own.
const dialog = document.getElementById("runbook");
const text = document.getElementById("runbook-text");

document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[data-runbook]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const response = await fetch(`/runbooks/${encodeURIComponent(link.dataset.runbook)}/fragment`);
    if (!response.ok) throw new Error(response.statusText);
    const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
    text.replaceChildren(...parsed.body.childNodes);
    dialog.setAttribute("aria-label", text.querySelector("h1")?.textContent ?? "Runbook");
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
    try { await navigator.clipboard.writeText(words); return true; } catch { /* not allowed: use the old way */ }
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
  const message = (await copied(link)) ? "Link copied" : link;
  const before = button.textContent;
  button.textContent = message;
  document.getElementById("announcer").textContent = message;
  setTimeout(() => { if (button.textContent === message) button.textContent = before; }, 2_500);
});
