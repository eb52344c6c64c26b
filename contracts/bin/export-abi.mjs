#!/usr/bin/env node
// Writes contracts/abi/<Name>.json, ABI and bytecode, from what `forge build` left in out/. The Rust crates read these
// files, so building them needs neither Node nor forge. Those of `deployed` also with the code that they have on a
// chain, and where in that their immutables are, for `lockstep group code`. With --check nothing is written: a difference is an error.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const contracts = [
  ...["Group", "Vault", "Reverter", "Recorder", "MockProcess", "Differential", "Seeder"],
  ...["Storage", "Accounts", "Account", "Asset", "WrappedCoin", "Bridge"],
];
const deployed = ["Group", "Storage", "Accounts", "Account", "Asset", "WrappedCoin", "Bridge"];
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "abi");
const check = process.argv.includes("--check");

function slim(name) {
  const artifact = join(root, "out", `${name}.sol`, `${name}.json`);
  if (!existsSync(artifact)) throw new Error(`out/${name}.sol/${name}.json is missing: run \`forge build\` in contracts/ first`);
  const { abi, bytecode, deployedBytecode } = JSON.parse(readFileSync(artifact, "utf8"));
  if (!bytecode?.object) throw new Error(`out/${name}.sol/${name}.json has no bytecode: run \`forge build --force\` in contracts/`);
  const slimmed = { abi, bytecode: { object: bytecode.object } };
  if (deployed.includes(name)) {
    const places = Object.values(deployedBytecode.immutableReferences ?? {}).flat();
    const immutables = places.map(({ start, length }) => `${start}+${length}`).sort((a, b) => parseInt(a) - parseInt(b));
    slimmed.deployedBytecode = { object: deployedBytecode.object, immutables: immutables.join(" ") };
  }
  return `${JSON.stringify(slimmed, null, 2)}\n`;
}

function compare(name, text) {
  const path = join(folder, `${name}.json`);
  const committed = existsSync(path) ? readFileSync(path, "utf8") : null;
  if (committed === null) return `contracts/abi/${name}.json is missing`;
  if (committed === text) return null;
  const abi = (json) => JSON.stringify(JSON.parse(json).abi);
  return `contracts/abi/${name}.json is not what the sources give: its ${abi(committed) === abi(text) ? "bytecode" : "ABI"} differs`;
}

try {
  const texts = contracts.map((name) => [name, slim(name)]);
  if (check) {
    const known = new Set(contracts.map((name) => `${name}.json`));
    const strays = readdirSync(folder).filter((file) => !known.has(file)).map((file) => `contracts/abi/${file} belongs to no exported contract`);
    const problems = [...texts.map(([name, text]) => compare(name, text)).filter((problem) => problem !== null), ...strays];
    for (const problem of problems) console.error(problem);
    if (problems.length > 0) {
      console.error("run `forge build && node bin/export-abi.mjs` in contracts/ and commit the result");
      process.exitCode = 1;
    }
  } else {
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of texts) writeFileSync(join(folder, `${name}.json`), text);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
