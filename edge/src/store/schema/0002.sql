-- Whether file and row of an image are known to be on the medium. An image of an earlier version is: its row was written last.
ALTER TABLE images ADD COLUMN durable INTEGER NOT NULL DEFAULT 1;
CREATE INDEX images_not_durable ON images (id) WHERE durable = 0;
