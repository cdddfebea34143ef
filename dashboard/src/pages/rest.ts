// The pages that are loaded together when the first of them is opened, by their names in addresses.
// They are one file, because two would share a third, which the first load would have to ask for apart.
export { SessionsPage as sessions } from "./sessions.tsx";
export { EvaluationsPage as evaluations } from "./evaluations.tsx";
export { DatasetsPage as datasets } from "./datasets.tsx";
export { ReviewPage as review } from "./review.tsx";
export { GuardsPage as guards } from "./guards.tsx";
export { PoliciesPage as policies } from "./policies.tsx";
export { AlertsPage as alerts } from "./alerts.tsx";
export { RoutesPage as routes } from "./routes.tsx";
export { LimitsPage as limits } from "./limits.tsx";
export { KeysPage as keys } from "./keys.tsx";
export { SettingsPage as settings } from "./settings.tsx";
export { AuditPage as audit } from "./audit.tsx";
export { PlaygroundPage as playground } from "./playground.tsx";
