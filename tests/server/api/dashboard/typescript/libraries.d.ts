// The vendored libraries of the page, as far as it uses them.
declare module "*/htm-preact-standalone.mjs" {
  export function html(parts: TemplateStringsArray, ...values: any[]): any;
  export function render(tree: any, root: Element): void;
  export function useState<T>(first: T | (() => T)): [T, (next: T | ((now: T) => T)) => void];
  export function useRef<T>(first: T): { current: T };
  export function useEffect(effect: () => void | (() => void), when?: any[]): void;
  export function useLayoutEffect(effect: () => void | (() => void), when?: any[]): void;
}
declare module "*/lightweight-charts.mjs";
declare const uPlot: any;
