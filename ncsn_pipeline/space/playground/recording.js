// Where all particles were at about MOMENTS steps of the last run, so that it can be looked at again.

const MOMENTS = 120;

class Recording {
  constructor(chains) {
    this.every = Math.ceil(chains.totalSteps / MOMENTS);
    this.moments = [];
    this.keep(chains);
  }

  // Called after every step; keeps those of its grid, and the last step of the run.
  keep(chains) {
    const { stepsTaken, totalSteps, plain, annealed, dropped } = chains;
    if (stepsTaken > totalSteps || (stepsTaken % this.every && stepsTaken !== totalSteps)) return;
    const copy = ({ points, diverged }) => ({ points: Float32Array.from(points), diverged });
    this.moments.push({ stepsTaken, plain: copy(plain), annealed: copy(annealed), dropped: dropped.slice() });
  }

  // The chains as they were at the kept step that is nearest.
  at(step, chains) {
    const distance = ({ stepsTaken }) => Math.abs(stepsTaken - step);
    const nearest = this.moments.reduce((best, moment) => (distance(moment) < distance(best) ? moment : best));
    return Object.assign(Object.create(chains), nearest);
  }
}
