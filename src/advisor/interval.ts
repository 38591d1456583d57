/**
 * Between which bounds a chance lies nine times in ten, after so many observations (Wilson's interval).
 * @param count above 0
 */
export const intervalOf = (probability: number, count: number): readonly [number, number] => {
  const z = 1.645;
  const scale = 1 + (z * z) / count;
  const middle = (probability + (z * z) / (2 * count)) / scale;
  const half =
    (z / scale) *
    Math.sqrt((probability * (1 - probability)) / count + (z * z) / (4 * count * count));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
};
