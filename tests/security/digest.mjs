// Computes digests without anything of Handfast: RFC 8785 and SHA-256, as docs/wire.md describes them.
// Reads a list of requests, as the query `pending_approvals` answers them, and prints their digests.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

// JSON.parse rounds integers beyond 2^53: those of 16 digits and more are read as BigInt here.
const TOKEN = /"(?:[^"\\]|\\.)*"(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;
function parse(text) {
  const mark = (token, key) =>
    /^-?\d{16,}$/.test(token) ? `"n${token}"` : key || token[0] !== '"' ? token : `"s${token.slice(1)}`;
  const unmark = (_, value) =>
    typeof value !== "string" ? value : value[0] === "n" ? BigInt(value.slice(1)) : value.slice(1);
  return JSON.parse(text.replace(TOKEN, mark), unmark);
}

function canonical(value) {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort().filter((key) => value[key] !== undefined);
  return `{${members.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

function digest(request) {
  const { id, agent_path, tool, call_id, bound } = request;
  const covered = { ...bound, request: id, agent_path, tool, call: call_id, arguments: request.arguments };
  return "v1:" + createHash("sha256").update(canonical(covered)).digest("hex");
}

console.log(JSON.stringify(parse(readFileSync(0, "utf8")).map(digest)));
