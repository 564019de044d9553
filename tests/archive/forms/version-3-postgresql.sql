CREATE TABLE aiodimse_meta (
    name VARCHAR(32) NOT NULL,
    value TEXT,
    PRIMARY KEY (name)
);
CREATE TABLE commitment (
    uid TEXT COLLATE "C" NOT NULL,
    calling_ae_title TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    refs TEXT NOT NULL,
    PRIMARY KEY (uid, calling_ae_title)
);
CREATE TABLE file (
    location TEXT COLLATE "C" NOT NULL,
    folder TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    finding VARCHAR(16) NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (location)
);
CREATE INDEX ix_file_folder ON file (folder);
CREATE INDEX file_duplicate ON file (uid) WHERE finding = 'duplicate';
CREATE TABLE patient (
    pk BIGSERIAL NOT NULL,
    patient_id TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (pk),
    UNIQUE (patient_id, issuer, name)
);
CREATE TABLE study (
    pk BIGSERIAL NOT NULL,
    patient_pk BIGINT NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    told TEXT NOT NULL,
    counters TEXT NOT NULL,
    PRIMARY KEY (pk),
    UNIQUE (patient_pk, uid),
    FOREIGN KEY(patient_pk) REFERENCES patient (pk)
);
CREATE INDEX study_uid ON study (uid);
CREATE TABLE series (
    pk BIGSERIAL NOT NULL,
    study_pk BIGINT NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    told TEXT NOT NULL,
    instances INTEGER NOT NULL,
    PRIMARY KEY (pk),
    UNIQUE (study_pk, uid),
    FOREIGN KEY(study_pk) REFERENCES study (pk)
);
CREATE INDEX series_uid ON series (uid);
CREATE TABLE outdated (
    study_pk BIGINT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (study_pk),
    FOREIGN KEY(study_pk) REFERENCES study (pk) ON DELETE CASCADE
);
CREATE TABLE term (
    study_pk BIGINT NOT NULL,
    kind INTEGER NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    FOREIGN KEY(study_pk) REFERENCES study (pk) ON DELETE CASCADE
);
CREATE INDEX ix_term_study_pk ON term (study_pk);
CREATE INDEX term_value ON term (kind, value, study_pk);
CREATE TABLE instance (
    pk BIGSERIAL NOT NULL,
    series_pk BIGINT,
    model VARCHAR(32) NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    sop_class_uid TEXT COLLATE "C" NOT NULL,
    transfer_syntax TEXT COLLATE "C" NOT NULL,
    location TEXT COLLATE "C" NOT NULL,
    told TEXT NOT NULL,
    PRIMARY KEY (pk),
    FOREIGN KEY(series_pk) REFERENCES series (pk),
    UNIQUE (uid)
);
CREATE INDEX instance_model ON instance (model, pk) WHERE model <> '';
CREATE INDEX ix_instance_series_pk ON instance (series_pk);
INSERT INTO aiodimse_meta (name, value)
    VALUES ('version', '3');
INSERT INTO aiodimse_meta (name, value)
    VALUES ('kept', '63b09a0e640b65acf2de8390850f9274cfd5702be23763d9c238554f56a36477');
INSERT INTO aiodimse_meta (name, value)
    VALUES ('complete', '1');
INSERT INTO commitment (uid, calling_ae_title, created, refs)
    VALUES ('1.9.1', 'MODALITY', 1700000000, '[["1.2.840.10008.5.1.4.1.1.4","1.2.1.1.1"]]');
INSERT INTO file (location, folder, size, modified, finding, uid)
    VALUES ('0.dcm', '', 466, 1700000000000000000, 'object', '1.2.1.1.1');
INSERT INTO file (location, folder, size, modified, finding, uid)
    VALUES ('1.dcm', '', 466, 1700000000000000000, 'object', '1.2.1.1.2');
INSERT INTO file (location, folder, size, modified, finding, uid)
    VALUES ('2.dcm', '', 472, 1700000000000000000, 'object', '1.2.2.1.1');
INSERT INTO patient (pk, patient_id, issuer, name)
    VALUES (1, 'P1', '', '');
INSERT INTO patient (pk, patient_id, issuer, name)
    VALUES (2, 'P2', '', '');
SELECT setval('patient_pk_seq', (SELECT max(pk) FROM patient));
INSERT INTO study (pk, patient_pk, uid, told, counters)
    VALUES (1, 1, '1.2.1', '[{"PatientID":["P1"],"PatientName":["Doe^John"],"StudyInstanceUID":["1.2.1"],"StudyID":["1"],"StudyDescription":["O''Hara"]},[["ISO_IR 192"]],[["1.2.1.1.1",["ISO_IR 192"]]],{"PatientID":0,"PatientName":0,"StudyInstanceUID":0,"StudyID":0,"StudyDescription":0}]', '[1,2,{"MR":1},{"1.2.840.10008.5.1.4.1.1.4":2}]');
INSERT INTO study (pk, patient_pk, uid, told, counters)
    VALUES (2, 2, '1.2.2', '[{"PatientID":["P2"],"PatientName":["Müller^Jörg"],"StudyInstanceUID":["1.2.2"],"StudyID":["2"],"StudyDescription":["O''Hara"]},[["ISO_IR 192"]],[["1.2.2.1.1",["ISO_IR 192"]]],{"PatientID":0,"PatientName":0,"StudyInstanceUID":0,"StudyID":0,"StudyDescription":0}]', '[1,1,{"MR":1},{"1.2.840.10008.5.1.4.1.1.4":1}]');
SELECT setval('study_pk_seq', (SELECT max(pk) FROM study));
INSERT INTO series (pk, study_pk, uid, told, instances)
    VALUES (1, 1, '1.2.1.1', '[{"SeriesInstanceUID":["1.2.1.1"],"Modality":["MR"]},[["ISO_IR 192"]],[["1.2.1.1.1",["ISO_IR 192"]]],{"SeriesInstanceUID":0,"Modality":0}]', 2);
INSERT INTO series (pk, study_pk, uid, told, instances)
    VALUES (2, 2, '1.2.2.1', '[{"SeriesInstanceUID":["1.2.2.1"],"Modality":["MR"]},[["ISO_IR 192"]],[["1.2.2.1.1",["ISO_IR 192"]]],{"SeriesInstanceUID":0,"Modality":0}]', 1);
SELECT setval('series_pk_seq', (SELECT max(pk) FROM series));
INSERT INTO term (study_pk, kind, value)
    VALUES (1, 1, 'doe^john');
INSERT INTO term (study_pk, kind, value)
    VALUES (1, 5, '1');
INSERT INTO term (study_pk, kind, value)
    VALUES (1, 6, 'MR');
INSERT INTO term (study_pk, kind, value)
    VALUES (2, 1, 'müller^jörg');
INSERT INTO term (study_pk, kind, value)
    VALUES (2, 5, '2');
INSERT INTO term (study_pk, kind, value)
    VALUES (2, 6, 'MR');
INSERT INTO instance (pk, series_pk, model, uid, sop_class_uid, transfer_syntax, location, told)
    VALUES (1, 1, '', '1.2.1.1.1', '1.2.840.10008.5.1.4.1.1.4', '1.2.840.10008.1.2.1', '0.dcm', '[{"SOPInstanceUID":["1.2.1.1.1"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.4"],"InstanceNumber":["1"]},[["ISO_IR 192"]],[],{}]');
INSERT INTO instance (pk, series_pk, model, uid, sop_class_uid, transfer_syntax, location, told)
    VALUES (2, 1, '', '1.2.1.1.2', '1.2.840.10008.5.1.4.1.1.4', '1.2.840.10008.1.2.1', '1.dcm', '[{"SOPInstanceUID":["1.2.1.1.2"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.4"],"InstanceNumber":["2"]},[["ISO_IR 192"]],[],{}]');
INSERT INTO instance (pk, series_pk, model, uid, sop_class_uid, transfer_syntax, location, told)
    VALUES (3, 2, '', '1.2.2.1.1', '1.2.840.10008.5.1.4.1.1.4', '1.2.840.10008.1.2.1', '2.dcm', '[{"SOPInstanceUID":["1.2.2.1.1"],"SOPClassUID":["1.2.840.10008.5.1.4.1.1.4"],"InstanceNumber":["1"]},[["ISO_IR 192"]],[],{}]');
SELECT setval('instance_pk_seq', (SELECT max(pk) FROM instance));
