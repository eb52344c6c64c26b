#!/usr/bin/env node
// Two things that must be true of the code that goes on a chain: no contract is larger than a chain takes, and all of them
// come out the same wherever they are built. Run it after `forge build`.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const codeMax = 24_576; // EIP-170
const initcodeMax = 49_152; // EIP-3860
// What operators deploy (`script/Deploy.s.sol`, `script/DeployAccounts.s.sol`), and what that deploys itself.
const rebuilt = ["Group.sol", "storage/Storage.sol", "accounts/Accounts.sol", "accounts/Account.sol", "assets/Asset.sol"].concat([
  "bridge/WrappedCoin.sol", "bridge/Bridge.sol",
]);

const size = (code) => ((code?.object ?? "0x").length - 2) / 2;
const artifact = (folder, file, name) => JSON.parse(readFileSync(join(folder, "out", file, `${name}.json`), "utf8"));

function sizes() {
  const problems = [];
  const sources = readdirSync(join(root, "src"), { recursive: true }).filter((path) => path.endsWith(".sol"));
  for (const file of sources.map((path) => basename(path))) {
    if (!existsSync(join(root, "out", file))) throw new Error(`out/${file} is missing: run \`forge build\` in contracts/ first`);
    for (const name of readdirSync(join(root, "out", file)).map((path) => basename(path, ".json"))) {
      const { bytecode, deployedBytecode } = artifact(root, file, name);
      const [code, initcode] = [size(deployedBytecode), size(bytecode)];
      if (code > codeMax) problems.push(`${name} has ${code} bytes of code, a chain takes ${codeMax}`);
      if (initcode > initcodeMax) problems.push(`${name} takes ${initcode} bytes to deploy, a chain takes ${initcodeMax}`);
    }
  }
  return problems;
}

// Another folder, no cache, nothing but what it needs.
function rebuild() {
  const place = mkdtempSync(join(tmpdir(), "lockstep-build-"));
  try {
    const folder = join(place, "contracts");
    mkdirSync(folder);
    for (const name of ["src", "bin", "foundry.toml"]) cpSync(join(root, name), join(folder, name), { recursive: true });
    symlinkSync(join(root, "..", "node_modules"), join(place, "node_modules"));
    const files = rebuilt.map((path) => `src/${path}`);
    execFileSync("forge", ["build", ...files], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
    const problems = [];
    for (const name of rebuilt.map((path) => basename(path, ".sol"))) {
      const [here, there] = [root, folder].map((from) => artifact(from, `${name}.sol`, name));
      const same = (part) => here[part].object === there[part].object;
      if (!same("bytecode") || !same("deployedBytecode")) problems.push(`${name} comes out differently in another folder`);
    }
    return problems;
  } finally {
    rmSync(place, { recursive: true });
  }
}

try {
  const problems = [...sizes(), ...rebuild()];
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
