// Which page is shown, and what is around it.
import { useEffect } from "preact/hooks";
import { expired } from "./state/api.ts";
import { place } from "./state/router.ts";
import { loadMe, me, meError } from "./state/session.ts";
import { Frame } from "./ui/frame.tsx";
import { Skeleton, Toasts, Trouble } from "./ui/kit.tsx";
import { SignIn, SignInAgain } from "./pages/sign_in.tsx";
import { ChoosePlace } from "./pages/choose_place.tsx";
import { LogsPage } from "./pages/logs.tsx";
import { LogPage } from "./pages/log_page.tsx";
import { Lazy } from "./ui/lazy.tsx";
import { StartPage } from "./pages/start.tsx";

function Page() {
  const { page, id, account, gateway } = place.value;
  // A page of another gateway is another page: nothing of the one before may stay.
  const key = `${account}/${gateway}/${page}`;
  switch (page) {
    case "logs":
      return id ? <LogPage key={`${key}/${id}`} id={id} /> : <LogsPage key={key} />;
    case "overview":
      return <Lazy key={key} name="overview" load={() => import("./pages/overview.tsx").then(({ OverviewPage }) => OverviewPage)} />;
    case "start":
      return <StartPage key={key} />;
    default:
      return <Lazy key={key} name={page} load={() => import("./pages/rest.ts").then((pages) => pages[page])} />;
  }
}

export function App() {
  return (
    <>
      <Shown />
      <Toasts />
    </>
  );
}

function Shown() {
  useEffect(() => {
    // A person who comes back to the tab after hours sees at once that the session has ended.
    const seen = () => document.visibilityState === "visible" && me.value && void loadMeQuietly();
    document.addEventListener("visibilitychange", seen);
    return () => document.removeEventListener("visibilitychange", seen);
  }, []);
  if (me.value === undefined) {
    return (
      <main class="alone">{meError.value ? <Trouble error={meError.value} retry={() => void loadMe()} /> : <Skeleton lines={4} />}</main>
    );
  }
  if (me.value === null) return <SignIn />;
  const isPlaced = place.value.account !== null && place.value.gateway !== null;
  return (
    <>
      {isPlaced ? (
        <Frame>
          <Page />
        </Frame>
      ) : (
        <ChoosePlace />
      )}
      {expired.value && <SignInAgain />}
    </>
  );
}

async function loadMeQuietly(): Promise<void> {
  const answer = await fetch("/dashboard/me", { credentials: "same-origin" }).catch(() => null);
  if (answer?.status === 401) expired.value = true;
}
