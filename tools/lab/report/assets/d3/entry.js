// What the report takes from d3. The modules are named one by one, because
// importing "d3" itself would bring its transitions along.
export { axisBottom } from "d3-axis";
export { hcl, rgb } from "d3-color";
export { format } from "d3-format";
export { interpolateLab, piecewise } from "d3-interpolate";
export { scaleLinear, scalePow } from "d3-scale";
export { select } from "d3-selection";
