// Signing in, as a page of its own or above the page whose session has ended.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { said } from "../core/words.ts";
import { signIn } from "../state/session.ts";
import { bound, Button, Dialog, Field } from "../ui/kit.tsx";
import { ApiError } from "../state/api.ts";

function SignInForm() {
  const token = useSignal("");
  const error = useSignal<string | null>(null);
  const isBusy = useSignal(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (token.value.trim() === "") return void (error.value = "Paste a token here.");
    isBusy.value = true;
    error.value = null;
    try {
      await signIn({ token: token.value.trim() });
      token.value = "";
    } catch (failed) {
      const isWrong = failed instanceof ApiError && failed.status === 401;
      error.value = isWrong ? "Tollgate does not know this token. It may have been revoked, or it has expired." : said(failed);
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} class="sign-in-form">
      <Field label="Token" error={error.value ?? undefined} help="The admin token, or a token that may read. It is exchanged for a session cookie and not kept.">
        {(id, about) => (
          <input id={id} aria-describedby={about} type="password" autocomplete="off" spellcheck={false} autofocus {...bound(token)} />
        )}
      </Field>
      <Button kind="main" type="submit" disabled={isBusy.value}>
        {isBusy.value ? "Signing in…" : "Sign in"}
      </Button>
    </form>
  );
}

export function SignIn() {
  useEffect(() => void (document.title = "Sign in · Tollgate"), []);
  return (
    <main class="alone sign-in">
      <h1>Tollgate</h1>
      <SignInForm />
      <p class="note">
        On this machine it is quicker with the link that <code>npm start</code> prints last. The admin token is <code>ADMIN_TOKEN</code> in <code>.dev.vars</code>.
      </p>
    </main>
  );
}

/** The page below stays as it is, with whatever was typed into it. */
export function SignInAgain() {
  return (
    <Dialog title="Your session has ended" onClose={() => {}} closable={false} class="narrow">
      <p>Sign in again to go on. Nothing on the page below is lost.</p>
      <SignInForm />
    </Dialog>
  );
}
