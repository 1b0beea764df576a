/** @file The models room's door. */

export { sinusoids } from "./timestep.js";
export { readUnetConfig, type UnetConfig } from "./unet/config.js";
export { type UnetInputs, unet } from "./unet/unet.js";
