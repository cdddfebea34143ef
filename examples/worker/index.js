// A Worker that asks a model through Tollgate, tags the call, and lets its reader judge the answer.
import { Tollgate } from "../../clients/workers/index.js";

const USAGE = `GET  /ask?q=…&user=…     asks, and answers with the text and the id of its log
GET  /logs/{id}          what Tollgate recorded of it
POST /logs/{id}/up       thumbs up; /down is the other one
`;

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const [, place, id, thumb] = pathname.split("/");
    const ai = new Tollgate(env.TOLLGATE, { account: env.ACCOUNT, gateway: env.GATEWAY, keys: { openai: env.OPENAI_API_KEY } });
    const gateway = ai.gateway(env.GATEWAY);
    try {
      if (place === "ask") {
        const messages = [{ role: "user", content: searchParams.get("q") ?? "What should I eat for lunch?" }];
        const metadata = { user: searchParams.get("user") ?? "anonymous", example: true };
        const answer = await ai.run("openai/gpt-4o-mini", { messages }, { gateway: { id: env.GATEWAY, metadata } });
        return Response.json({ answer: answer.choices[0].message.content, log: ai.aiGatewayLogId });
      }
      if (place === "logs" && request.method === "POST") {
        await gateway.patchLog(id, { feedback: thumb === "up" ? 1 : -1 });
        return Response.json({ log: id, thumb });
      }
      if (place === "logs") return Response.json(await gateway.getLog(id));
      return new Response(USAGE, { status: place === "" ? 200 : 404 });
    } catch (error) {
      return Response.json({ error: error.name, message: error.message }, { status: error.name === "AiGatewayLogNotFound" ? 404 : 502 });
    }
  },
};
