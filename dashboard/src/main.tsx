// The dashboard's beginning: a one-time code in the address signs in; else the cookie does.
import "./style.css";
import { render } from "preact";
import { App } from "./app.tsx";
import { address } from "./state/router.ts";
import { loadMe, me, signIn } from "./state/session.ts";
import { toast } from "./state/toasts.ts";

async function begin(): Promise<void> {
  const code = window.location.pathname === "/dashboard/sign-in" ? window.location.hash.slice(1) : "";
  if (code === "") return loadMe();
  // The code works once; it must not stay in the browser's history.
  window.history.replaceState(null, "", "/dashboard/");
  address.value = { path: "/dashboard/", query: new URLSearchParams() };
  try {
    await signIn({ code });
  } catch {
    await loadMe();
    if (!me.value) toast("This sign-in link was used already or is too old. Restart the server for a new one, or sign in with a token.", { isError: true, ms: 20_000 });
  }
}

const root = document.getElementById("app");
if (root) render(<App />, root);
void begin();
