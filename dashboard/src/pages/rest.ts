// The pages that are loaded together when the first of them is opened.
export { SessionsPage } from "./sessions.tsx";
export { EvaluationsPage } from "./evaluations.tsx";
export { DatasetsPage } from "./datasets.tsx";
export { ReviewPage } from "./review.tsx";
export { LimitsPage } from "./limits.tsx";
export { KeysPage } from "./keys.tsx";
export { SettingsPage } from "./settings.tsx";
export { AuditPage } from "./audit.tsx";
export { PlaygroundPage } from "./playground.tsx";
