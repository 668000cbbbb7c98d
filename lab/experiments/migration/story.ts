import { storyOf } from "../restart/story.ts";

export const ITEMS = 300;
/** So often that data is on the way when the box forgets: nothing else shows it to who only reads. */
export const story = storyOf(ITEMS, 10);
