import { describe, expect, it } from "vitest";
import {
  calibrated,
  emptyCalibration,
  mergeCalibrations,
  settle,
} from "../../../src/advisor/calibration.ts";
import { emptyLine, fit, mergeLines, straightened } from "../../../src/advisor/calibration-line.ts";
import { randomOf } from "../../../sim/random.ts";

describe("Calibration", () => {
  it("says one chance of predictions that differ by chance alone (seed 5)", () => {
    const random = randomOf(5);
    const calibration = emptyCalibration();
    for (let at = 0; at < 300; at++)
      settle(calibration, "class", 0.6 + 0.39 * random(), random() < 0.85);
    for (const raw of [0.62, 0.8, 0.97]) {
      expect(Math.abs(calibrated(calibration, "class", raw) - 0.85)).toBeLessThan(0.06);
    }
  });

  it("leaves predictions that are right as they are (seed 6)", () => {
    const random = randomOf(6);
    const calibration = emptyCalibration();
    for (let at = 0; at < 2_000; at++) {
      const raw = random();
      settle(calibration, "class", raw, random() < raw);
    }
    for (const raw of [0.1, 0.3, 0.5, 0.7, 0.9]) {
      expect(Math.abs(calibrated(calibration, "class", raw) - raw)).toBeLessThan(0.1);
    }
  });

  it("gives way within twenty outcomes where predictions are far off everywhere", () => {
    const calibration = emptyCalibration();
    for (let at = 0; at < 20; at++) settle(calibration, "class", 0.05 + 0.03 * at, true);
    expect(calibrated(calibration, "class", 0.3)).toBeGreaterThan(0.7);
  });

  it("is not carried away by one burst of failures after an outage", () => {
    const calibration = emptyCalibration();
    for (let at = 0; at < 10; at++) settle(calibration, "released", 0.94, false);
    expect(calibrated(calibration, "released", 0.94)).toBeGreaterThan(0.88);
  });

  it("of two places comes near that of one that saw it all (seed 7)", () => {
    const random = randomOf(7);
    const [one, other, all] = [emptyCalibration(), emptyCalibration(), emptyCalibration()];
    for (let at = 0; at < 300; at++) {
      const raw = random();
      const came = random() < 0.5 + 0.3 * raw;
      settle(at % 2 === 0 ? one : other, "class", raw, came);
      settle(all, "class", raw, came);
    }
    mergeCalibrations(one, other);
    for (const raw of [0.1, 0.5, 0.9]) {
      const merged = calibrated(one, "class", raw);
      expect(Math.abs(merged - calibrated(all, "class", raw))).toBeLessThan(0.1);
    }
  });
});

describe("A line of calibration", () => {
  it("gives chances whatever it was fitted to, and follows what has changed", () => {
    const line = emptyLine();
    for (let at = 0; at < 2_000; at++) fit(line, 0.9, false);
    expect(straightened(line, 0.9)).toBeLessThan(0.1);
    for (let at = 0; at < 2_000; at++) fit(line, 0.9, true);
    expect(straightened(line, 0.9)).toBeGreaterThan(0.9);
    expect(straightened(line, 1)).toBeLessThan(1);
    expect(straightened(line, 0)).toBeGreaterThan(0);
  });

  it("of two places is that of one that saw it all", () => {
    const [one, other, all] = [emptyLine(), emptyLine(), emptyLine()];
    for (let at = 0; at < 100; at++) {
      for (const line of [at % 2 === 0 ? one : other, all]) fit(line, 0.6, at % 10 === 0);
    }
    mergeLines(one, other);
    expect(straightened(all, 0.6)).toBeLessThan(0.2);
    expect(Math.abs(straightened(one, 0.6) - straightened(all, 0.6))).toBeLessThan(0.05);
  });

  it("that only ever merges follows what has changed as well", () => {
    const into = emptyLine();
    const lineOf = (succeeded: boolean) => {
      const line = emptyLine();
      for (let at = 0; at < 400; at++) fit(line, 0.5, succeeded);
      return line;
    };
    for (let at = 0; at < 50; at++) mergeLines(into, lineOf(true));
    for (let at = 0; at < 3; at++) mergeLines(into, lineOf(false));
    expect(straightened(into, 0.5)).toBeLessThan(0.5);
  });
});
