// The management API, asked over the page's own origin; the token for what changes the server, asked of the person once.

import { say } from "./i18n.js";
import { element } from "./format.js";

const KEPT = "srs.token";

function token() {
  try { return sessionStorage.getItem(KEPT) ?? ""; } catch { return ""; }
}

function keep(value) {
  try { sessionStorage.setItem(KEPT, value); } catch { /* for this page only */ }
}

export class ApiError extends Error {
  constructor(status, why) {
    super(why);
    this.status = status;
  }
}

async function ask(method, path) {
  const headers = { Accept: "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, { method, headers, cache: "no-store" });
  } catch (cause) {
    throw new ApiError(0, say("unreachable", { why: cause.message }));
  }
  let body = null;
  try { body = await response.json(); } catch { /* said by its status */ }
  // The web server's own answer: there is no API behind it.
  if (response.status === 404 && body === null) throw new ApiError(404, say("api_off"));
  if (!response.ok) {
    const why = response.status === 401 ? say("not_allowed") : body?.data?.reason_phrase ?? `HTTP ${response.status}`;
    throw new ApiError(response.status, why);
  }
  return body ?? {};
}

export const get = (path) => ask("GET", path);

// What changes the server: with the token, which is asked for when there is none or a wrong one.
export async function change(method, path) {
  for (;;) {
    if (!token() && !(await askToken(""))) return null;
    try {
      return await ask(method, path);
    } catch (cause) {
      if (cause.status !== 401) throw cause;
      keep("");
      if (!(await askToken(say("token_wrong")))) return null;
    }
  }
}

// Shows a dialog; true when a token was given.
export function askToken(complaint) {
  return new Promise((resolve) => {
    const input = element("input", { id: "token-input", type: "password", autocomplete: "off", required: true });
    const form = element("form", { method: "dialog" },
      element("h2", { text: say("token") }),
      element("p", { class: "soft", text: say("token_lead") }),
      complaint ? element("p", { class: "error", role: "alert", text: complaint }) : null,
      element("label", { for: "token-input", text: say("token") }),
      input,
      element("p"),
      element("div", { class: "row" },
        element("button", { class: "main", type: "submit", value: "go", text: say("go_on") }),
        element("button", { type: "button", text: say("cancel"), onclick: () => dialog.close("") })));
    const dialog = element("dialog", { "aria-label": say("token") }, form);
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "go" && input.value.trim() !== "";
      if (given) keep(input.value.trim());
      dialog.remove();
      resolve(given);
    });
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
