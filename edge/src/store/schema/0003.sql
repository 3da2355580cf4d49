-- What the case said when a person agreed or disagreed. Of an opinion on an image that no longer stands for its case that is not
-- known any more.
ALTER TABLE verdicts ADD COLUMN decision TEXT;
ALTER TABLE verdicts ADD COLUMN label TEXT;
UPDATE verdicts SET (decision, label) = (SELECT decision, label FROM cases WHERE cases.id = case_id)
    WHERE (image_id, frame) = (SELECT worst_image, worst_frame FROM cases WHERE cases.id = case_id);
-- Names of media are often those of patients.
UPDATE images SET origin = 'media' WHERE origin LIKE 'media %';
