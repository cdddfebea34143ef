// The Worker's own OpenAPI document, and what it says of an answer.
import assert from "node:assert/strict";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const METHODS = ["get", "post", "put", "patch", "delete"];

export class Document {
  #ajv = new Ajv({ strict: false, allErrors: true });

  constructor(document) {
    this.document = document;
    addFormats(this.#ajv);
    this.#ajv.addSchema(document, "document");
    this.operations = Object.entries(document.paths).flatMap(([template, item]) =>
      METHODS.filter((method) => item[method]).map((method) => new Operation(this, template, method, item)),
    );
  }

  static async of(gateway) {
    const answer = await fetch(`${gateway.url}/openapi.json`);
    assert.equal(answer.status, 200);
    return new Document(await answer.json());
  }

  operation(id) {
    return this.operations.find((operation) => operation.id === id) ?? assert.fail(`the document has no operation ${id}`);
  }

  /** What stands at a pointer, or where the reference there leads. */
  at(pointer) {
    const words = pointer.split("/").slice(1).map((word) => word.replaceAll("~1", "/").replaceAll("~0", "~"));
    const found = words.reduce((value, word) => value?.[word], this.document);
    return found?.$ref ? this.at(found.$ref.slice(1)) : { value: found, pointer };
  }

  resolved(value) {
    return value.$ref ? this.at(value.$ref.slice(1)).value : value;
  }

  /** Why a value is not of the schema at a pointer; null when it is. */
  complaint(pointer, value) {
    const reference = `document#${pointer.split("/").map(encodeURIComponent).join("/")}`;
    const validate = this.#ajv.getSchema(reference) ?? assert.fail(`no schema at ${pointer}`);
    return validate(value) ? null : this.#ajv.errorsText(validate.errors, { dataVar: "" });
  }
}

export class Operation {
  constructor(document, template, method, item) {
    Object.assign(this, { document, template, method: method.toUpperCase() });
    const { operationId, parameters = [], requestBody, responses, security } = item[method];
    this.id = operationId;
    this.pointer = `/paths/${template.replaceAll("/", "~1")}/${method}`;
    this.parameters = [...(item.parameters ?? []), ...parameters].map((parameter) => document.resolved(parameter));
    this.body = requestBody && Object.entries(requestBody.content).map(([type, { schema }]) => ({ type, schema }))[0];
    this.responses = responses;
    this.open = security?.length === 0;
    this.proxied = template.startsWith("/v1/") || template.startsWith("/accounts/{account}/ai/") || template.startsWith("/dashboard/playground/");
  }

  /** The path with values in place of its parameters, which are sent as they are, and whatever query there is. */
  path(values, query = "") {
    const path = this.template.replace(/\{(.*?)\}/g, (_, name) => values[name] ?? assert.fail(`${this.id}: no value for ${name}`));
    const text = typeof query === "string" ? query : String(new URLSearchParams(query));
    return text ? `${path}?${text}` : path;
  }

  /** Why an answer is not what the document says; null when it is. */
  complaint(status, contentType, text) {
    const name = [String(status), `${String(status)[0]}XX`, "default"].find((name) => this.responses[name]);
    if (!name) return `status ${status} is not documented`;
    const { value: response, pointer } = this.document.at(`${this.pointer}/responses/${name}`);
    if (!response.content) return text === "" ? null : `no body is documented for ${status}`;
    const type = (contentType ?? "").split(";")[0].trim();
    const media = [type, "*/*"].find((media) => response.content[media]);
    if (!media) return `content type '${type}' is not documented for ${status}`;
    if (!response.content[media].schema) return null;
    try {
      const schema = `${pointer}/content/${media.replaceAll("/", "~1")}/schema`;
      // A schema of lines is of each of them.
      if (media === "application/x-ndjson") return text.split("\n").filter(Boolean).map((line) => this.document.complaint(schema, JSON.parse(line))).find(Boolean) ?? null;
      return this.document.complaint(schema, media.includes("json") || media === "*/*" ? JSON.parse(text) : text);
    } catch (error) {
      if (error instanceof SyntaxError) return `no JSON: ${error.message}`;
      throw error;
    }
  }
}
