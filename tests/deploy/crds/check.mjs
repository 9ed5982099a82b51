// Custom resources against the schemas of the projects that define them, as npm packages carry them.
//
// usage: check.mjs < [{"from": "…", "resource": {…}}, …]
//
// Two halves: the package's own validation knows types, patterns and what is required, but lets unknown
// fields pass; its TypeScript declarations let none pass. Ends with 1 if anything is wrong.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGES = {
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
};

const problems = [];
const lines = [];
const given = JSON.parse(readFileSync(0, "utf8"));
for (const [index, { from, resource }] of given.entries()) {
  const { apiVersion, kind } = resource;
  const path = PACKAGES[apiVersion];
  const Model = path && (await import(path))[kind];
  if (!Model) {
    problems.push(`${from}: no schema for ${apiVersion} ${kind}`);
    continue;
  }
  try {
    new Model(resource).validate();
  } catch (error) {
    problems.push(`${from}: ${kind}: ${error.message}`);
  }
  lines.push(
    `import type { I${kind} as T${index} } from ${JSON.stringify(path)};`,
    `// ${from}: ${kind}`,
    `export const r${index}: T${index} = ${JSON.stringify(resource, null, 1)};`,
  );
}

// Beside node_modules, so that the compiler finds the declarations.
const folder = mkdtempSync(join(HERE, "node_modules", ".resources-"));
try {
  const file = join(folder, "resources.mts");
  writeFileSync(file, lines.join("\n"));
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"];
  execFileSync(join(HERE, "node_modules/.bin/tsc"), [...options, "--target", "es2022", file]);
} catch (error) {
  problems.push(String(error.stdout ?? error));
} finally {
  rmSync(folder, { recursive: true });
}

for (const problem of problems) console.error(problem);
process.exit(problems.length ? 1 : 0);
