// A stand-in for Cloudflare's API of AI Gateway, with the shapes of its OpenAPI document: pages, filters, and what goes wrong with them.
import { createServer } from "node:http";

export const CF_TOKEN = "cf-read-only-token-0123456789";
export const CF_ACCOUNT = "0123456789abcdef0123456789abcdef";

export class CloudflareApi {
  /** `gateways` maps ids to `{settings, logs, routes, datasets, evaluations, provider_configs}`; `faults` is what each n-th call gets. */
  static async start({ gateways, customProviders = [], costs = [], evaluationTypes = [] }) {
    const api = new CloudflareApi();
    Object.assign(api, { gateways, customProviders, costs, evaluationTypes, calls: 0, writes: [], faults: [], times: [] });
    api.server = createServer((request, response) => api.answer(request, response));
    await new Promise((resolve) => api.server.listen(0, "127.0.0.1", resolve));
    api.origin = `http://127.0.0.1:${api.server.address().port}`;
    api.url = `${api.origin}/client/v4`;
    return api;
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }

  answer(request, response) {
    this.calls += 1;
    const send = (status, body, headers = {}) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    };
    const fail = (status, code, message) => send(status, { success: false, errors: [{ code, message }] });
    for (const { every, status, drop } of this.faults) {
      if (this.calls % every !== 0) continue;
      if (drop) return request.socket.destroy();
      return send(status, { success: false, errors: [{ code: 10429, message: "slow down" }] }, { "retry-after": "0" });
    }
    if (request.headers.authorization !== `Bearer ${CF_TOKEN}`) return fail(401, 10000, "Authentication error");
    if (request.method !== "GET") {
      this.writes.push(`${request.method} ${request.url}`);
      return fail(403, 10000, "Authentication error");
    }
    const url = new URL(request.url, this.origin);
    const [, path] = url.pathname.match(/^\/client\/v4\/accounts\/[0-9a-f]{32}\/ai-gateway(\/.*)$/) ?? [];
    const query = url.searchParams;
    const list = (all, most) => {
      const [page, per] = [Number(query.get("page") ?? 1), Number(query.get("per_page") ?? 20)];
      if (per > most) return fail(400, 7001, `per_page: Number must be less than or equal to ${most}`);
      const result = all.slice((page - 1) * per, page * per);
      return send(200, { success: true, result, result_info: { count: result.length, page, per_page: per, total_count: all.length } });
    };
    if (path === "/gateways") return list(Object.values(this.gateways).map(({ settings }) => settings), 100);
    if (path === "/custom-providers") return list(this.customProviders, 100);
    if (path === "/custom-providers/costs") return list(this.costs, 100);
    if (path === "/evaluation-types") return list(this.evaluationTypes, 50);
    const [, id, kind, one, part] = path?.match(/^\/gateways\/([^/]+)\/([a-z_]+)(?:\/([^/]+))?(?:\/([^/]+))?$/) ?? [];
    const gateway = this.gateways[id];
    if (!gateway) return fail(404, 7002, "Not Found");
    if (kind === "logs" && !one) return list(this.logs(gateway, query), 50);
    if (kind === "logs") {
      const log = gateway.logs.find((each) => each.id === one);
      const body = log && gateway.bodies?.[one]?.[part];
      return body ? send(200, body) : fail(404, 7002, "Not Found");
    }
    if (kind === "routes") {
      if (one) return send(200, { success: true, result: gateway.routes.find((route) => route.id === one) });
      return send(200, { success: true, data: { routes: (gateway.routes ?? []).map(({ elements, ...row }) => row), page: 1, per_page: 50, order_by: "created_at", order_by_direction: "desc" } });
    }
    return list(gateway[kind] ?? [], 100);
  }

  logs({ logs }, query) {
    let found = [...logs];
    const filters = query.get("filters") ? JSON.parse(query.get("filters")) : [];
    for (const { key, operator, value } of filters) {
      if (key !== "created_at" || operator !== "gt") throw new Error(`the stand-in knows no ${key} ${operator}`);
      found = found.filter((log) => log.created_at > value[0]);
    }
    const sign = query.get("order_by_direction") === "desc" ? -1 : 1;
    return found.sort((a, b) => (a.created_at < b.created_at ? -sign : a.created_at > b.created_at ? sign : a.id < b.id ? -sign : sign));
  }
}
